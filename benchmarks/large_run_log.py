"""Creates a run log of ten million rows, as after thirty days of two thousand configs.

    python -m benchmarks.large_run_log --url postgresql://... [--rows 10000000]

This command fills an empty, migrated database. If RUN_LOG_URL contains its address, benchmarks use this database
instead of a new one, which saves several minutes per run.
"""

import argparse
import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from benchmarks.infrastructure import a_database

from store.migrate import upgrade

ROWS = 10_000_000
QUICK_ROWS = 200_000
DAYS = 30
CONFIGS = 2000
EXCHANGES = ("binance", "bybit", "coinbase", "kraken", "okx")
ERRORS = ("timeout", "network", "rate_limited", "unavailable", "invalid_data")
_ROWS_PER_STATEMENT = 500_000
_RUNNING = 20
"""The number of latest runs that have not ended."""

_CONFIGS_SQL = """
INSERT INTO data_collection_configs (symbol, exchange, timeframes, interval_minutes, enabled)
SELECT 'C' || (n - 1) / cardinality($2::text[]) || '/USDT', ($2::text[])[1 + (n - 1) % cardinality($2::text[])],
       ARRAY['1m', '5m', '1h'], 10, true
FROM generate_series(1, $1::int) AS n
"""

# Rows are in order of time, as log-writer adds them. Of a hundred runs 95 succeed, 4 fail and 1 is skipped, in every
# config and hour. The median duration is 1.6 s; the logarithm of the duration is normally distributed (Box-Muller).
_RUNS_SQL = """
INSERT INTO job_execution_logs (
  job_name, job_type, symbol, exchange, started_at, finished_at, duration_seconds, status, records_collected,
  error_message, error_class, metadata, run_id, config_id, trigger, scheduled_for, deadline_at)
SELECT 'collect_data_' || config_id, 'data_collection', 'C' || (config_id - 1) / cardinality($5::text[]) || '/USDT',
       ($5::text[])[1 + (config_id - 1) % cardinality($5::text[])],
       started_at, CASE WHEN status <> 'running' THEN started_at + duration * interval '1 second' END,
       CASE WHEN status <> 'running' THEN duration END, status,
       CASE status WHEN 'success' THEN 6 + n / 11 % 25 ELSE 0 END,
       CASE status WHEN 'failed' THEN 'The exchange did not answer as it should.' END,
       CASE status WHEN 'failed' THEN ($6::text[])[1 + n / 7 % cardinality($6::text[])] END,
       jsonb_build_object('timeframes_collected', 3, 'timeframes_failed', 0, 'timeframes', '["1m", "5m", "1h"]'::jsonb,
                          'event_id', md5('e' || n)),
       md5(n::text)::uuid, config_id, CASE WHEN n % 97 = 0 THEN 'manual' ELSE 'scheduled' END, started_at,
       started_at + interval '2 minutes'
FROM (
  SELECT n, 1 + n % $7::int AS config_id, $3::timestamptz + n * ($4::interval / $8::float8) AS started_at,
         CASE WHEN n >= $8::int - $9::int THEN 'running' WHEN luck < 0.95 THEN 'success' WHEN luck < 0.99 THEN 'failed'
              ELSE 'skipped' END AS status,
         exp(0.5 + 0.8 * sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random())) AS duration
  FROM (SELECT n, random() AS luck FROM generate_series($1::bigint, $2::bigint) AS n) AS numbers
) AS runs
"""


@contextlib.asynccontextmanager
async def a_run_log(rows: int = ROWS) -> AsyncIterator[str]:
    """The URL of a database with `rows` runs. If RUN_LOG_URL is set, that database is used unchanged."""
    if url := os.environ.get("RUN_LOG_URL"):
        await upgrade(url)
        yield url
        return
    async with a_database() as url:
        seconds = await fill(url, rows, datetime.now(UTC))
        print(f"a run log of {rows:,} rows, built in {seconds:.0f} s", flush=True)
        yield url


async def fill(
    url: str, rows: int, until: datetime, *, configs: int = CONFIGS, days: float = DAYS, in_last_hour: int = 0
) -> float:
    """Insert configs, and runs that started in the days before `until`. Returns the time in seconds.

    `in_last_hour` of the runs started in the last hour, the others at the same rate before. Indexes are created
    afterwards. This is several times faster than updating them with each row.
    """
    hour = timedelta(hours=1 if in_last_hour else 0)
    parts = [(0, rows - in_last_hour, timedelta(days=days) - hour), (rows - in_last_hour, in_last_hour, hour)]
    started = time.perf_counter()
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET maintenance_work_mem = '512MB'; SET work_mem = '64MB'; SELECT setseed(0.42)")
        await connection.execute(_CONFIGS_SQL, configs, EXCHANGES)
        async with _without_indexes(connection, "job_execution_logs"):
            for start, count, length in parts:
                for first in range(start, start + count, _ROWS_PER_STATEMENT):
                    last = min(first + _ROWS_PER_STATEMENT, start + count) - 1
                    step = length / count
                    # The time of row 0, if all rows were as far apart as those of this part.
                    zero = until - (hour if start == 0 else timedelta()) - (start + count) * step
                    values = (zero, step * rows, EXCHANGES, ERRORS, configs, rows, _RUNNING)
                    await connection.execute(_RUNS_SQL, first, last, *values)
        await connection.execute("SELECT settle_run_changes()")
        await connection.execute("VACUUM (ANALYZE) job_execution_logs, run_hours, run_durations, run_changes")
        await connection.execute("VACUUM (ANALYZE) data_collection_configs")
    finally:
        await connection.close()
    return time.perf_counter() - started


@contextlib.asynccontextmanager
async def _without_indexes(connection: Any, name: str) -> AsyncIterator[None]:
    """Drop all indexes of the table except those of constraints, and recreate them after the block."""
    indexes = await connection.fetch(
        "SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition FROM pg_index "
        "WHERE indrelid = $1::regclass AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)",
        name,
    )
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['name']}")
    yield
    for index in indexes:
        await connection.execute(index["definition"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_run_log")
    parser.add_argument("--url", required=True, help="URL of an empty database with the current schema")
    parser.add_argument("--rows", type=int, default=ROWS)
    chosen = parser.parse_args()
    print(f"{chosen.rows:,} rows in {asyncio.run(fill(chosen.url, chosen.rows, datetime.now(UTC))):.0f} s")
