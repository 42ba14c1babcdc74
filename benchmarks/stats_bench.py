"""Compares `/stats` and `/status` over a run log of ten million rows with equivalent plain SQL.

    python -m benchmarks.stats_bench [--quick]

Each window begins just after a whole hour. This is the worst case, because nearly an hour of runs is read row by row.
If the figures of both sides differ, the benchmark fails.
"""

import argparse
import asyncio
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import asyncpg
from benchmarks.large_run_log import QUICK_ROWS, ROWS, a_run_log
from benchmarks.report import Row, table
from benchmarks.timing import milliseconds, spread

from admin_api.runs.schemas import Stats
from admin_api.runs.statistics import overview, stats_of
from runtime.database import build_engine
from runtime.settings import DatabaseSettings

HOURS = (1, 24, 720)
TARGET_MS = 50.0
_ROUNDS = 20
_PLAIN_ROUNDS = 3

PLAIN = """
SELECT count(*) AS total_executions,
  count(*) FILTER (WHERE status = 'success') AS successful_executions,
  count(*) FILTER (WHERE status = 'failed') AS failed_executions,
  count(*) FILTER (WHERE status = 'running') AS running_executions,
  round(avg(duration_seconds) FILTER (WHERE status IN ('success', 'failed'))::numeric, 3)::float8
    AS average_duration_seconds,
  coalesce(sum(records_collected), 0) AS total_records_collected,
  max(started_at) AS last_execution,
  count(*) FILTER (WHERE status = 'skipped') AS skipped_executions
FROM job_execution_logs WHERE started_at >= $1
"""
"""Plain SQL for the guide's fields."""

PERCENTILES = """
SELECT percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY duration_seconds)
FROM job_execution_logs WHERE started_at >= $1 AND status IN ('success', 'failed')
"""


def main(*, quick: bool = False) -> list[Row]:
    """Takes one minute, plus the time to create the run log; with `quick` (a small run log) some seconds."""
    return asyncio.run(_measure(QUICK_ROWS if quick else ROWS))


async def _measure(rows: int) -> list[Row]:
    async with a_run_log(rows) as url:
        engine = build_engine(DatabaseSettings(database_url=url), "bench")
        raw = await asyncpg.connect(url)
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=1)
        try:
            found = [await _measure_window(engine, raw, now - timedelta(hours=hours), hours) for hours in HOURS]
            status, _ = await milliseconds(lambda: overview(engine, now), _ROUNDS)
            baseline = found[1].baseline
            return [
                *found,
                Row.compare("/status", median(status), baseline, "ms", spread(status), ours_below=TARGET_MS),
            ]
        finally:
            await raw.close()
            await engine.dispose()


async def _measure_window(engine: Any, raw: asyncpg.Connection, since: datetime, hours: int) -> Row:
    ours, stats = await milliseconds(lambda: stats_of(engine, since=since, job_type=None), _ROUNDS)
    plain, row = await milliseconds(lambda: raw.fetchrow(PLAIN, since), _PLAIN_ROUNDS)
    percentiles, shares = await milliseconds(lambda: raw.fetchval(PERCENTILES, since), 1)
    _check_equal(stats, dict(row), shares)
    note = (
        f"{spread(ours)}; {row['total_executions']:,} runs; baseline: only the guide's fields; p50 and p95 would take "
    )
    name = f"/stats, {hours} hour{'s' if hours > 1 else ''}"
    note += f"{percentiles[0]:,.0f} ms more"
    return Row.compare(name, median(ours), median(plain), "ms", note, ours_below=TARGET_MS)


def _check_equal(stats: Stats, row: dict[str, Any], percentiles: list[float]) -> None:
    ours = stats.model_dump()
    if wrong := {name: (ours[name], value) for name, value in row.items() if ours[name] != value}:
        raise AssertionError(f"/stats and plain SQL differ: {wrong}")
    estimates = (stats.p50_duration_seconds, stats.p95_duration_seconds)
    for estimate, exact in zip(estimates, percentiles, strict=True):
        if estimate is None or abs(estimate - exact) > 0.01 * exact:
            raise AssertionError(f"a percentile differs by more than 1 %: {estimate} instead of {exact}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stats_bench")
    parser.add_argument("--quick", action="store_true", help="a small run log")
    print(table(main(quick=parser.parse_args().quick)))
