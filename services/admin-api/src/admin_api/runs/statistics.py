"""Statistics of the run log, and the overview. log-writer writes the tables that are read here."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.runs import queries
from admin_api.runs.hourly_counts import average_duration, counts_of, errors_by_class
from admin_api.runs.percentiles import p50_and_p95
from admin_api.runs.schemas import Stats, Status
from admin_api.writes.transactions import reading
from contracts.vocabulary import JobType, RunStatus
from store.tables import configs, execution_logs, scheduled_jobs

_STATUS_HOURS = 24
_STATUS_RUNS = 10


async def stats_of(engine: AsyncEngine, *, since: datetime, job_type: str | None) -> Stats:
    """Statistics of the runs that started at or after `since`; of all job types if `job_type` is None."""
    async with reading(with_snapshot(engine)) as connection:
        return await _stats(connection, since, job_type)


async def overview(engine: AsyncEngine, now: datetime) -> Status:
    """Configs, jobs, the latest runs of `data_collection` and their statistics of the last day."""
    count = sa.func.count
    async with reading(with_snapshot(engine)) as connection:
        total, enabled = (
            await connection.execute(sa.select(count(), count().filter(configs.c.enabled)).select_from(configs))
        ).one()
        active = await connection.scalar(sa.select(count()).select_from(scheduled_jobs).where(scheduled_jobs.c.active))
        return Status(
            total_configs=total,
            enabled_configs=enabled,
            disabled_configs=total - enabled,
            active_jobs=active or 0,
            recent_executions=await queries.latest(connection, _STATUS_RUNS, JobType.DATA_COLLECTION),
            stats=await _stats(connection, now - timedelta(hours=_STATUS_HOURS), JobType.DATA_COLLECTION),
        )


def success_rate(successful: int, failed: int) -> float:
    """The success rate in percent, with two decimals; 0 if no run succeeded or failed."""
    finished = successful + failed
    return round(successful / finished * 100, 2) if finished else 0.0


def with_snapshot(engine: AsyncEngine) -> AsyncEngine:
    """The engine with transactions that read one snapshot.

    Otherwise a transaction could see a run change twice or not at all while log-writer adds it to the hourly counts.
    """
    return engine.execution_options(isolation_level="REPEATABLE READ")


async def _stats(connection: AsyncConnection, since: datetime, job_type: str | None) -> Stats:
    counts = await counts_of(connection, since, job_type)
    runs = {status: sum(each.runs for each in counts if each.status == status) for status in RunStatus}
    p50, p95 = await p50_and_p95(connection, since, job_type, counts)
    return Stats(
        total_executions=sum(runs.values()),
        successful_executions=runs[RunStatus.SUCCESS],
        failed_executions=runs[RunStatus.FAILED],
        running_executions=runs[RunStatus.RUNNING],
        success_rate=success_rate(runs[RunStatus.SUCCESS], runs[RunStatus.FAILED]),
        average_duration_seconds=average_duration(counts),
        total_records_collected=sum(each.records for each in counts),
        last_execution=await _last_start(connection, since, job_type),
        skipped_executions=runs[RunStatus.SKIPPED],
        p50_duration_seconds=p50,
        p95_duration_seconds=p95,
        errors_by_class=errors_by_class(counts),
    )


async def _last_start(connection: AsyncConnection, since: datetime, job_type: str | None) -> datetime | None:
    logs = execution_logs.c
    of_type = [] if job_type is None else [logs.job_type == job_type]
    latest: datetime | None = await connection.scalar(
        sa.select(sa.func.max(logs.started_at)).where(logs.started_at >= since, *of_type)
    )
    return latest
