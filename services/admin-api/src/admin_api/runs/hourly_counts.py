"""The statistics of the run log, read from its counts and not from its rows.

They are the sum of three parts: the hourly counts, the run changes that log-writer has not added to them yet, and the
single runs before the first whole hour. The sum equals the result of plain SQL over the run log.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.vocabulary import RunStatus
from store.statistics_tables import run_changes, run_exchange_changes, run_exchange_hours, run_hours
from store.tables import execution_logs

HOUR: Final = timedelta(hours=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_HOUR: Final = sa.bindparam("first_hour", type_=sa.TIMESTAMP(timezone=True))


class Count(NamedTuple):
    """The sums over the runs of one status, error class and duration bucket."""

    status: str
    error_class: str
    """Empty if the runs have no error class."""
    bucket: int | None
    """The duration bucket, as in `run_durations`. None for runs without a duration, and for hourly counts."""
    runs: int
    timed_runs: int
    """The runs that have a duration."""
    duration_microseconds: int
    """The sum of the durations of these runs."""
    records: int


def round_up(instant: datetime, span: timedelta) -> datetime:
    """The first start of a whole hour or day (`span`), in UTC, that is at or after `instant`."""
    return instant + (_EPOCH - instant) % span


async def counts_of(connection: AsyncConnection, since: datetime, job_type: str | None) -> list[Count]:
    """The counts of the runs that started at or after `since`; of all job types if `job_type` is None."""
    values = {"since": since, "first_hour": round_up(since, HOUR), "job_type": job_type}
    rows = await connection.execute(_query(of_type=job_type is not None), values)
    return [Count(*row[:3], *map(int, row[3:])) for row in rows.all()]


def average_duration(counts: Sequence[Count]) -> float | None:
    """The average duration of the runs that succeeded or failed, in seconds with three decimals. None without such
    runs.

    It adds whole microseconds, because a sum of floats depends on their order.
    """
    finished = [each for each in counts if each.status in {RunStatus.SUCCESS, RunStatus.FAILED}]
    runs = sum(each.timed_runs for each in finished)
    return round(sum(each.duration_microseconds for each in finished) / (runs * 1_000_000), 3) if runs else None


def errors_by_class(counts: Sequence[Count]) -> dict[str, int]:
    """The number of failed runs of each error class, the most frequent first."""
    failed: dict[str, int] = {}
    for each in counts:
        if each.status == RunStatus.FAILED and each.error_class:
            failed[each.error_class] = failed.get(each.error_class, 0) + each.runs
    return {name: failed[name] for name in sorted(failed, key=lambda name: (-failed[name], name)) if failed[name]}


@cache
def _query(*, of_type: bool) -> sa.Select[Any]:
    """Returns rows of `Count`. Cached, because building the query takes longer than sending it."""
    hours, changes = run_hours.c, run_changes.c
    from_hours = sa.select(
        hours.status,
        hours.error_class,
        sa.null().cast(sa.Integer).label("bucket"),
        hours.runs,
        hours.timed_runs,
        hours.duration_microseconds,
        hours.records,
    ).where(hours.hour >= _FIRST_HOUR, *job_type_filter(hours, of_type=of_type))
    from_changes = sa.select(
        changes.status,
        changes.error_class,
        changes.bucket,
        changes.runs,
        sa.case((changes.bucket.is_(None), 0), else_=changes.runs),
        changes.duration_microseconds,
        changes.records,
    ).where(changes.hour >= _FIRST_HOUR, *job_type_filter(changes, of_type=of_type))
    parts = sa.union_all(from_hours, from_changes, _before_the_first_hour(of_type=of_type)).subquery()
    names = ("runs", "timed_runs", "duration_microseconds", "records")
    # the type is numeric, because a sum may be too large for bigint
    sums = (sa.func.sum(parts.c[name]) for name in names)
    keys = (parts.c.status, parts.c.error_class, parts.c.bucket)
    return sa.select(*keys, *sums).group_by(*keys)


def _before_the_first_hour(*, of_type: bool) -> sa.Select[Any]:
    logs = execution_logs.c
    bucket = sa.func.run_duration_bucket(logs.duration_seconds).label("bucket")
    return (
        sa.select(
            logs.status,
            sa.func.coalesce(logs.error_class, ""),
            bucket,
            sa.func.count(),
            sa.func.count(logs.duration_seconds),
            sa.func.coalesce(sa.func.sum(sa.func.run_microseconds(logs.duration_seconds)), 0),
            sa.func.sum(logs.records_collected),
        )
        .where(
            logs.started_at >= sa.bindparam("since"),
            logs.started_at < _FIRST_HOUR,
            *job_type_filter(logs, of_type=of_type),
        )
        .group_by(logs.status, logs.error_class, bucket)
    )


def exchange_totals(since: datetime | None, job_type: str) -> sa.Select[Any]:
    """For each exchange in order of name: runs, duration in microseconds, and records of the runs with a duration.

    Only runs that started at or after `since` are counted; if it is None, all runs. The run log is read only before the
    first whole hour.
    """
    hours, changes, logs = run_exchange_hours.c, run_exchange_changes.c, execution_logs.c
    parts = [
        sa.select(
            counted.exchange,
            counted.runs,
            counted.duration_microseconds,
            counted.records,
        ).where(counted.job_type == job_type, *([] if since is None else [counted.hour >= round_up(since, HOUR)]))
        for counted in (hours, changes)
    ]
    if since is not None:
        parts.append(
            sa.select(
                logs.exchange,
                sa.literal(1),
                sa.func.run_microseconds(logs.duration_seconds),
                logs.records_collected,
            ).where(
                logs.job_type == job_type,
                logs.started_at >= since,
                logs.started_at < round_up(since, HOUR),
                logs.duration_seconds.is_not(None),
            )
        )
    part = sa.union_all(*parts).subquery()
    sums = (
        sa.func.sum(part.c[name]).label(name)  # the type is numeric, because a sum may be too large for bigint
        for name in ("runs", "duration_microseconds", "records")
    )
    return (
        sa.select(part.c.exchange, *sums)
        .group_by(part.c.exchange)
        .having(sa.func.sum(part.c.runs) > 0)
        .order_by(part.c.exchange)
    )


def job_type_filter(columns: Any, *, of_type: bool) -> list[sa.ColumnElement[bool]]:
    """The condition on the job type; empty if `of_type` is false."""
    return [columns.job_type == sa.bindparam("job_type")] if of_type else []
