"""Finds and plans 1,000 holes in 10,000 series, and compares Postgres' time with plain SQL that only lists the holes.

    python -m benchmarks.planning_bench [--quick]

Each series is in a config and is verified over 90 days, apart from the holes. The times are processor time of the one
connection that each side has, so other load does not count. If a hole is not part of a chunk afterwards, the benchmark
fails.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any, Final

import asyncpg
import psutil
from benchmarks.infrastructure import a_database
from benchmarks.large_run_log import EXCHANGES
from benchmarks.report import Row, table

from backfiller.plans import SERIES_AT_ONCE, plan_due_series, register_series
from backfiller.settings import BackfillerSettings
from runtime.database import build_engine, driver_transaction

SERIES: Final = 10_000
HOLES: Final = 1_000
TARGET_MS: Final = 1_000.0
_TIMEFRAMES: Final = ("1m", "5m", "1h", "1d")
_ROUNDS: Final = 7

# Holes of two to ten candles, at most one per day of a series. A tenth of the series has all of them.
_FILL: Final = """
SELECT setseed(0.42);
INSERT INTO data_collection_configs (symbol, exchange, timeframes, interval_minutes, enabled)
SELECT 'C' || n || '/USDT', ({exchanges})[1 + n % cardinality({exchanges})], {timeframes}, 10, true
FROM generate_series(1, {series} / cardinality({timeframes})) AS n;
INSERT INTO config_timeframes (exchange, symbol, timeframe, config_id)
SELECT exchange, symbol, unnest(timeframes), id FROM data_collection_configs;
INSERT INTO series (exchange, symbol, timeframe) SELECT exchange, symbol, timeframe FROM config_timeframes;
CREATE TEMP TABLE gaps AS
SELECT id AS series_id, tstzrange(opens, opens + (2 + floor(random() * 9)) * length) AS gap
FROM (
  SELECT id, length, date_trunc('day', now(), 'UTC') - (5 + (number / ({series} / 10)) * 12) * interval '1 day'
           - floor(random() * 20) * length AS opens
  FROM generate_series(0, {holes} - 1) AS number
  JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place,
               CASE timeframe WHEN '1m' THEN interval '1 minute' WHEN '5m' THEN interval '5 minutes'
                 WHEN '1h' THEN interval '1 hour' ELSE interval '1 day' END AS length FROM series) AS places
    ON place = 1 + 10 * (number % ({series} / 10))
) AS starts;
INSERT INTO coverage (series_id, verified, updated_at)
SELECT id, tstzmultirange(tstzrange(
         date_trunc('day', now(), 'UTC') - interval '90 days', date_trunc('day', now(), 'UTC')
       )) - coalesce((SELECT range_agg(gap) FROM gaps WHERE series_id = id), '{{}}'), now()
FROM series;
ANALYZE series, coverage, data_collection_configs, config_timeframes
"""

_PLAIN: Final = """
SELECT exchange, symbol, timeframe, hole
FROM coverage JOIN series ON series.id = series_id JOIN config_timeframes USING (exchange, symbol, timeframe),
  unnest(tstzmultirange(range_merge(verified)) - verified) AS hole
"""

_UNPLANNED: Final = """
SELECT count(*) FROM coverage, unnest(tstzmultirange(range_merge(verified)) - verified) AS hole
WHERE NOT EXISTS (SELECT FROM backfill_chunks AS chunk WHERE chunk.series_id = coverage.series_id
                  AND tstzrange(starts_at, ends_at) @> hole)
"""


def main(*, quick: bool = False) -> list[Row]:
    """Takes about a minute; with `quick` (fewer series and holes) some seconds."""
    return asyncio.run(_measure(SERIES // 10 if quick else SERIES, HOLES // 10 if quick else HOLES))


async def _measure(series: int, holes: int) -> list[Row]:
    async with a_database() as url:
        settings = BackfillerSettings(database_url=url, kafka_bootstrap_servers="unused:1")
        engine = build_engine(settings, "bench", pool_size=1)
        raw = await asyncpg.connect(url)
        try:
            await raw.execute("SET TIME ZONE 'UTC'")
            arrays = {
                name: f"ARRAY{list(each)}" for name, each in (("exchanges", EXCHANGES), ("timeframes", _TIMEFRAMES))
            }
            await raw.execute(_FILL.format(series=series, holes=holes, **arrays))
            return await _compare(settings, engine, raw, series, holes)
        finally:
            await raw.close()
            await engine.dispose()


async def _compare(
    settings: BackfillerSettings, engine: Any, raw: asyncpg.Connection, series: int, holes: int
) -> list[Row]:
    async with driver_transaction(engine) as connection:
        ours_process = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
    plain_process = psutil.Process(await raw.fetchval("SELECT pg_backend_pid()"))
    await register_series(engine)
    found, idle, plain = [], [], []
    for _ in range(_ROUNDS):
        await raw.execute("TRUNCATE backfill_chunks")
        found.append(await _milliseconds(ours_process, lambda: _plan_all(settings, engine, raw, holes)))
        idle.append(await _milliseconds(ours_process, lambda: _plan_all(settings, engine, raw, 0)))
        plain.append(await _milliseconds(plain_process, lambda: raw.fetch(_PLAIN)))
        if unplanned := await raw.fetchval(_UNPLANNED):
            raise AssertionError(f"{unplanned} holes are not part of a chunk")
    note = f"{holes:,} holes in {series:,} series; baseline: plain SQL that lists the holes"
    name = "holes found and planned, Postgres' time"
    return [
        Row.compare(name, median(found), median(plain), "ms", note, ours_below=TARGET_MS),
        Row.compare("- again, when all holes are part of a chunk", median(idle), median(plain), "ms"),
    ]


async def _plan_all(settings: BackfillerSettings, engine: Any, raw: asyncpg.Connection, chunks: int) -> None:
    await raw.execute("UPDATE series_plans SET next_plan_at = now()")
    created = 0
    while True:
        planned = await plan_due_series(engine, settings.plan(), settings.plan_times())
        created += planned.created
        if planned.series < SERIES_AT_ONCE:
            break
    if created != chunks:
        raise AssertionError(f"{created} chunks were created for {chunks} holes")


async def _milliseconds(process: psutil.Process, call: Callable[[], Awaitable[Any]]) -> float:
    """The processor time of a connection's process in Postgres during the call."""
    before = process.cpu_times()
    await call()
    after = process.cpu_times()
    return float(after.user + after.system - before.user - before.system) * 1000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planning_bench")
    parser.add_argument("--quick", action="store_true", help="fewer series and holes")
    print(table(main(quick=parser.parse_args().quick)))
