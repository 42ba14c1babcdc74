"""Counts stuck runs and configs without success, for gauges. Prometheus cannot do this: the counters of the runs have
no label for the config, because thousands of configs would make as many series.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

COUNT_SECONDS: Final = 60.0
"""The pause between two counts. Each config costs one look-up in an index."""
STUCK_AFTER: Final = timedelta(minutes=30)
INTERVALS: Final = 3
"""A config is counted if it had no successful run in this number of its intervals."""

# A new config, whose first run started within these intervals, is not counted yet.
_COUNT: Final = text("""
    WITH schedule AS (
      SELECT exchange, job_name, now() - :intervals * make_interval(mins => interval_minutes) AS since
      FROM scheduled_jobs WHERE active
    ), failing AS (
      SELECT exchange, count(*) AS configs FROM schedule
      WHERE EXISTS (
        SELECT FROM job_execution_logs AS run WHERE run.job_name = schedule.job_name AND started_at < since
      ) AND NOT EXISTS (
        SELECT FROM job_execution_logs AS run
        WHERE run.job_name = schedule.job_name AND started_at >= since AND status = 'success'
      )
      GROUP BY 1
    ), stuck AS (
      SELECT exchange, count(*) AS runs FROM job_execution_logs
      WHERE status = 'running' AND started_at < now() - CAST(:stuck_after AS interval)
      GROUP BY 1
    )
    SELECT exchange, coalesce(configs, 0) AS configs, coalesce(runs, 0) AS runs
    FROM (SELECT exchange FROM schedule UNION SELECT exchange FROM stuck) AS exchanges
    LEFT JOIN failing USING (exchange) LEFT JOIN stuck USING (exchange)
""")


@dataclass(frozen=True)
class RunHealth:
    """The counts of one exchange."""

    configs_without_success: int
    stuck_runs: int


async def count_run_health(engine: AsyncEngine) -> Mapping[str, RunHealth]:
    """The counts by exchange, for each exchange with an active schedule or a stuck run."""
    async with engine.connect() as connection:
        rows = await connection.execute(_COUNT, {"intervals": INTERVALS, "stuck_after": STUCK_AFTER})
        return {row.exchange: RunHealth(row.configs, row.runs) for row in rows}
