"""Statistics of the run log, and the overview. Log-writer writes what is read here."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api import runs
from admin_api.database import transaction
from admin_api.schemas import Stats, Status
from contracts.vocabulary import RunStatus
from store.tables import configs, execution_logs, scheduled_jobs

_STATUS_HOURS = 24
_STATUS_RUNS = 10


async def stats_of(engine: AsyncEngine, *, since: datetime, job_type: str | None) -> Stats:
    """Over the runs that started at or after `since`."""
    async with transaction(engine) as connection:
        return await _stats(connection, since, job_type)


async def overview(engine: AsyncEngine, now: datetime) -> Status:
    """Configs, jobs, the latest runs and the last day's statistics."""
    count = sa.func.count
    async with transaction(engine) as connection:
        total, enabled = (
            await connection.execute(sa.select(count(), count().filter(configs.c.enabled)).select_from(configs))
        ).one()
        active = await connection.scalar(sa.select(count()).select_from(scheduled_jobs).where(scheduled_jobs.c.active))
        return Status(
            total_configs=total,
            enabled_configs=enabled,
            disabled_configs=total - enabled,
            active_jobs=active or 0,
            recent_executions=await runs.latest(connection, [], skip=0, limit=_STATUS_RUNS),
            stats=await _stats(connection, now - timedelta(hours=_STATUS_HOURS), None),
        )


def success_rate(successful: int, failed: int) -> float:
    """Percent with two decimals, of the runs that have an outcome; 0 when there are none."""
    finished = successful + failed
    return round(successful / finished * 100, 2) if finished else 0.0


async def _stats(connection: AsyncConnection, since: datetime, job_type: str | None) -> Stats:
    logs = execution_logs.c
    with_outcome = logs.status.in_([RunStatus.SUCCESS, RunStatus.FAILED])

    def runs_with(status: RunStatus) -> sa.ColumnElement[Any]:
        return sa.func.count().filter(logs.status == status)

    query = sa.select(
        sa.func.count().label("total"),
        runs_with(RunStatus.SUCCESS).label("successful"),
        runs_with(RunStatus.FAILED).label("failed"),
        runs_with(RunStatus.RUNNING).label("running"),
        runs_with(RunStatus.SKIPPED).label("skipped"),
        sa.func.avg(logs.duration_seconds).filter(with_outcome).label("average_duration"),
        sa.func.coalesce(sa.func.sum(logs.records_collected), 0).label("records"),
        sa.func.max(logs.started_at).label("last"),
    ).where(logs.started_at >= since, *([logs.job_type == job_type] if job_type is not None else []))
    row = (await connection.execute(query)).one()
    return Stats(
        total_executions=row.total,
        successful_executions=row.successful,
        failed_executions=row.failed,
        running_executions=row.running,
        success_rate=success_rate(row.successful, row.failed),
        average_duration_seconds=None if row.average_duration is None else round(row.average_duration, 3),
        total_records_collected=row.records,
        last_execution=row.last,
        skipped_executions=row.skipped,
    )
