"""Statistics of the run log, and the overview. Log-writer writes what is read here."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api import runs
from admin_api.database import transaction
from admin_api.durations import HOUR, p50_and_p95, rounded_up
from admin_api.schemas import Stats, Status
from contracts.vocabulary import RunStatus
from store.tables import configs, execution_logs, run_changes, run_hours, scheduled_jobs

_STATUS_HOURS = 24
_STATUS_RUNS = 10


class Count(NamedTuple):
    """What runs of one status and error class come to."""

    status: str
    error_class: str
    """Empty: none."""
    runs: int
    timed_runs: int
    """Those that have a duration."""
    duration_microseconds: int
    """Of all these together."""
    records: int


async def stats_of(engine: AsyncEngine, *, since: datetime, job_type: str | None) -> Stats:
    """Over the runs that started at or after `since`."""
    async with transaction(_of_one_instant(engine)) as connection:
        return await _stats(connection, since, job_type)


async def overview(engine: AsyncEngine, now: datetime) -> Status:
    """Configs, jobs, the latest runs and the last day's statistics."""
    count = sa.func.count
    async with transaction(_of_one_instant(engine)) as connection:
        total, enabled = (
            await connection.execute(sa.select(count(), count().filter(configs.c.enabled)).select_from(configs))
        ).one()
        active = await connection.scalar(sa.select(count()).select_from(scheduled_jobs).where(scheduled_jobs.c.active))
        return Status(
            total_configs=total,
            enabled_configs=enabled,
            disabled_configs=total - enabled,
            active_jobs=active or 0,
            recent_executions=await runs.latest(connection, _STATUS_RUNS),
            stats=await _stats(connection, now - timedelta(hours=_STATUS_HOURS), None),
        )


def success_rate(successful: int, failed: int) -> float:
    """Percent with two decimals, of the runs that have an outcome; 0 when there are none."""
    finished = successful + failed
    return round(successful / finished * 100, 2) if finished else 0.0


def average_duration(counts: Sequence[Count]) -> float | None:
    """Seconds with three decimals, of the runs that succeeded or failed. Of whole numbers, so no order of adding up
    floats shows in it.
    """
    timed = [each for each in counts if each.status in {RunStatus.SUCCESS, RunStatus.FAILED}]
    runs = sum(each.timed_runs for each in timed)
    return round(sum(each.duration_microseconds for each in timed) / (runs * 1_000_000), 3) if runs else None


def errors_by_class(counts: Sequence[Count]) -> dict[str, int]:
    """The failed runs of each class, the most frequent first."""
    failed = {each.error_class: each.runs for each in counts if each.status == RunStatus.FAILED and each.error_class}
    return {name: failed[name] for name in sorted(failed, key=lambda name: (-failed[name], name)) if failed[name]}


def _of_one_instant(engine: AsyncEngine) -> AsyncEngine:
    """Whose transactions see all tables as of one moment: counts and notes that move between them are seen once."""
    return engine.execution_options(isolation_level="REPEATABLE READ")


async def _stats(connection: AsyncConnection, since: datetime, job_type: str | None) -> Stats:
    counts = [Count._make(row) for row in (await connection.execute(_counts(since, job_type))).all()]
    runs = {status: sum(each.runs for each in counts if each.status == status) for status in RunStatus}
    total = sum(runs.values())
    p50, p95 = await p50_and_p95(connection, since, job_type, total)
    return Stats(
        total_executions=total,
        successful_executions=runs[RunStatus.SUCCESS],
        failed_executions=runs[RunStatus.FAILED],
        running_executions=runs[RunStatus.RUNNING],
        success_rate=success_rate(runs[RunStatus.SUCCESS], runs[RunStatus.FAILED]),
        average_duration_seconds=average_duration(counts),
        total_records_collected=sum(each.records for each in counts),
        last_execution=await _last(connection, since, job_type),
        skipped_executions=runs[RunStatus.SKIPPED],
        p50_duration_seconds=p50,
        p95_duration_seconds=p95,
        errors_by_class=errors_by_class(counts),
    )


def _counts(since: datetime, job_type: str | None) -> sa.Select[Any]:
    """Rows of `Count`. Whole hours as log-writer has counted them, what it has not yet added to them, and, from the log
    itself, the runs before the first whole hour.
    """
    logs, hours, notes = execution_logs.c, run_hours.c, run_changes.c
    first_hour = rounded_up(since, HOUR)

    def of_type(column: sa.Column[str]) -> list[sa.ColumnElement[bool]]:
        return [] if job_type is None else [column == job_type]

    parts = sa.union_all(
        sa.select(
            hours.status, hours.error_class, hours.runs, hours.timed_runs, hours.duration_microseconds, hours.records
        ).where(hours.hour >= first_hour, *of_type(hours.job_type)),
        sa.select(
            notes.status,
            notes.error_class,
            notes.runs,
            sa.case((notes.bucket.is_(None), 0), else_=notes.runs),
            notes.duration_microseconds,
            notes.records,
        ).where(notes.hour >= first_hour, *of_type(notes.job_type)),
        sa.select(
            logs.status,
            sa.func.coalesce(logs.error_class, ""),
            sa.func.count(),
            sa.func.count(logs.duration_seconds),
            sa.func.coalesce(sa.func.sum(sa.func.run_microseconds(logs.duration_seconds)), 0),
            sa.func.sum(logs.records_collected),
        )
        .where(logs.started_at >= since, logs.started_at < first_hour, *of_type(logs.job_type))
        .group_by(logs.status, logs.error_class),
    ).subquery()
    names = ("runs", "timed_runs", "duration_microseconds", "records")
    sums = (sa.cast(sa.func.sum(parts.c[name]), sa.BigInteger) for name in names)
    return sa.select(parts.c.status, parts.c.error_class, *sums).group_by(parts.c.status, parts.c.error_class)


async def _last(connection: AsyncConnection, since: datetime, job_type: str | None) -> datetime | None:
    logs = execution_logs.c
    of_type = [] if job_type is None else [logs.job_type == job_type]
    latest: datetime | None = await connection.scalar(
        sa.select(sa.func.max(logs.started_at)).where(logs.started_at >= since, *of_type)
    )
    return latest
