"""Creates the database of a large system: 5,000 configs, a million runs, and a series of two million candles.

    python -m benchmarks.large_system --url postgresql://...

This command fills an empty, migrated database. If LARGE_SYSTEM_URL contains its address, `dashboard_bench` uses this
database instead of a new one, which saves some minutes per run.
"""

import argparse
import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import asyncpg
from benchmarks import large_run_log
from benchmarks.completeness_bench import LEDGERS
from benchmarks.infrastructure import a_database

from candle_writer.levels import fill_levels
from candle_writer.recount import recount_outdated
from runtime.database import build_engine
from runtime.settings import DatabaseSettings
from store.migrate import upgrade

RUN_DAYS: Final = 14
RUNS_PER_HOUR: Final = 6
LONG_SERIES: Final = ("binance", "LONG/USDT", "1m")
"""The series with many candles. No config collects it."""

_JOBS: Final = """
INSERT INTO scheduled_jobs (config_id, job_name, exchange, symbol, interval_minutes, active, config_version, last_slot,
                            next_fire_at, covered_until, updated_at)
SELECT id, job_id, exchange, symbol, interval_minutes, enabled, version, now(), now() + id % 600 * interval '1 second',
       now(), now()
FROM data_collection_configs
"""
# A hole of up to two hours in each of two hundred parts of the series.
_LONG_SERIES: Final = """
WITH made AS (
  INSERT INTO series (exchange, symbol, timeframe, candle_count, first_open, last_open)
  SELECT '{exchange}', '{symbol}', '{timeframe}', {candles}, now - ({candles} - 1) * interval '1 minute', now
  FROM (SELECT date_trunc('minute', now()) - interval '1 minute' AS now) AS times
  RETURNING id, first_open, last_open
), holes AS (
  SELECT range_agg(tstzrange(starts_at, starts_at + (1 + n % 120) * interval '1 minute')) AS spans
  FROM made, generate_series(1, 199) AS n,
    LATERAL (SELECT first_open + n * ({candles} / 200) * interval '1 minute' AS starts_at) AS starts
)
INSERT INTO coverage (series_id, verified, updated_at)
SELECT id, tstzmultirange(tstzrange(first_open, last_open + interval '1 minute')) - spans, now() FROM made, holes
"""
_CANDLES: Final = """
INSERT INTO candles (series_id, open_time, open, high, low, close, volume, fetched_at)
SELECT id, open_time, price, price + 9, price - 9, price + n % 17 - 8, n % 100, now()
FROM series JOIN coverage ON series_id = series.id, generate_series(0, candle_count - 1) AS n,
  LATERAL (SELECT first_open + n * interval '1 minute' AS open_time, 60000 + 9000 * sin(n / 90000.0)
                  + 700 * sin(n / 3700.0) + 60 * sin(n / 70.0) AS price) AS values
WHERE candle_count > 0 AND verified @> open_time
"""


@dataclass(frozen=True)
class Size:
    """The numbers of rows."""

    configs: int
    runs: int
    candles: int

    @property
    def text(self) -> str:
        return f"{self.configs:,} configs, {self.runs:,} runs, a series of {self.candles:,} candles"


LARGE: Final = Size(configs=5_000, runs=1_000_000, candles=2_000_000)
QUICK: Final = Size(configs=500, runs=20_000, candles=100_000)


@contextlib.asynccontextmanager
async def a_large_system(size: Size) -> AsyncIterator[str]:
    """The URL of a database of this size. If LARGE_SYSTEM_URL is set, that database is used unchanged."""
    if url := os.environ.get("LARGE_SYSTEM_URL"):
        await upgrade(url)
        yield url
        return
    async with a_database() as url:
        print(f"{size.text}: filled in {await fill(url, size):.0f} s", flush=True)
        yield url


async def fill(url: str, size: Size) -> float:
    """Return the time in seconds. Daily counts and levels are filled by the functions of candle-writer."""
    started = time.perf_counter()
    in_last_hour = min(RUNS_PER_HOUR * size.configs, size.runs // 2)
    await large_run_log.fill(
        url, size.runs, datetime.now(UTC), configs=size.configs, days=RUN_DAYS, in_last_hour=in_last_hour
    )
    engine = build_engine(DatabaseSettings(database_url=url), "bench")
    raw = await asyncpg.connect(url, command_timeout=1800)
    names = dict(zip(("exchange", "symbol", "timeframe"), LONG_SERIES, strict=True))
    try:
        await raw.execute("SET TIME ZONE 'UTC'; SELECT setseed(0.42)")
        await raw.execute(LEDGERS)
        await raw.execute(_JOBS)
        await raw.execute(_LONG_SERIES.format(candles=size.candles, **names))
        await raw.execute(_CANDLES)
        await recount_outdated(engine, lambda _: None)
        await fill_levels(engine, lambda _: None)
        await raw.execute("VACUUM (ANALYZE)")
    finally:
        await raw.close()
        await engine.dispose()
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_system")
    parser.add_argument("--url", required=True, help="URL of an empty database with the current schema")
    print(f"{LARGE.text}: filled in {asyncio.run(fill(parser.parse_args().url, LARGE)):.0f} s")
