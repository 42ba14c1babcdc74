"""The run log, counted: whole hours as log-writer has added them up, the notes that it has not added yet, and, one by
one, the runs before the first whole hour. Together they are what plain SQL over the log would say.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.vocabulary import RunStatus
from store.tables import execution_logs, run_changes, run_exchange_changes, run_exchange_hours, run_hours

HOUR: Final = timedelta(hours=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_HOUR: Final = sa.bindparam("first_hour", type_=sa.TIMESTAMP(timezone=True))


class Count(NamedTuple):
    """What runs of one status and error class come to."""

    status: str
    error_class: str
    """Empty: none."""
    bucket: int | None
    """Of their duration, as in run_durations. None: they have no duration, or they are of whole hours."""
    runs: int
    timed_runs: int
    """Those that have a duration."""
    duration_microseconds: int
    """Of all these together."""
    records: int


def rounded_up(instant: datetime, span: timedelta) -> datetime:
    """The first whole hour or day, in UTC, that does not begin before `instant`."""
    return instant + (_EPOCH - instant) % span


async def counts_of(connection: AsyncConnection, since: datetime, job_type: str | None) -> list[Count]:
    """Of the runs that started at or after `since`."""
    values = {"since": since, "first_hour": rounded_up(since, HOUR), "job_type": job_type}
    rows = await connection.execute(_query(of_type=job_type is not None), values)
    return [Count._make(row) for row in rows.all()]


def average_duration(counts: Sequence[Count]) -> float | None:
    """Seconds with three decimals, of the runs that succeeded or failed. Of whole numbers, so no order of adding up
    floats shows in it.
    """
    timed = [each for each in counts if each.status in {RunStatus.SUCCESS, RunStatus.FAILED}]
    runs = sum(each.timed_runs for each in timed)
    return round(sum(each.duration_microseconds for each in timed) / (runs * 1_000_000), 3) if runs else None


def errors_by_class(counts: Sequence[Count]) -> dict[str, int]:
    """The failed runs of each class, the most frequent first."""
    failed: dict[str, int] = {}
    for each in counts:
        if each.status == RunStatus.FAILED and each.error_class:
            failed[each.error_class] = failed.get(each.error_class, 0) + each.runs
    return {name: failed[name] for name in sorted(failed, key=lambda name: (-failed[name], name)) if failed[name]}


@cache
def _query(*, of_type: bool) -> sa.Select[Any]:
    """Rows of `Count`. Made once: putting it together takes longer than sending it."""
    hours, notes = run_hours.c, run_changes.c
    whole = sa.select(
        hours.status,
        hours.error_class,
        sa.null().cast(sa.Integer).label("bucket"),
        hours.runs,
        hours.timed_runs,
        hours.duration_microseconds,
        hours.records,
    ).where(hours.hour >= _FIRST_HOUR, *that_type(hours, of_type=of_type))
    noted = sa.select(
        notes.status,
        notes.error_class,
        notes.bucket,
        notes.runs,
        sa.case((notes.bucket.is_(None), 0), else_=notes.runs),
        notes.duration_microseconds,
        notes.records,
    ).where(notes.hour >= _FIRST_HOUR, *that_type(notes, of_type=of_type))
    parts = sa.union_all(whole, noted, _before_the_first_hour(of_type=of_type)).subquery()
    names = ("runs", "timed_runs", "duration_microseconds", "records")
    sums = (sa.cast(sa.func.sum(parts.c[name]), sa.BigInteger) for name in names)
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
            *that_type(logs, of_type=of_type),
        )
        .group_by(logs.status, logs.error_class, bucket)
    )


def timed_runs_by_exchange(since: datetime | None, job_type: str) -> sa.Select[Any]:
    """Exchange, runs, duration in microseconds, and records of the runs that have a duration and started at or after
    `since`; None: of all. Only the runs before the first whole hour are read from the log. By exchange.
    """
    hours, notes, logs = run_exchange_hours.c, run_exchange_changes.c, execution_logs.c
    parts = [
        sa.select(
            counted.exchange,
            counted.runs,
            counted.duration_microseconds,
            counted.records,
        ).where(counted.job_type == job_type, *([] if since is None else [counted.hour >= rounded_up(since, HOUR)]))
        for counted in (hours, notes)
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
                logs.started_at < rounded_up(since, HOUR),
                logs.duration_seconds.is_not(None),
            )
        )
    part = sa.union_all(*parts).subquery()
    sums = (
        sa.cast(sa.func.sum(part.c[name]), sa.BigInteger).label(name)
        for name in ("runs", "duration_microseconds", "records")
    )
    return (
        sa.select(part.c.exchange, *sums)
        .group_by(part.c.exchange)
        .having(sa.func.sum(part.c.runs) > 0)
        .order_by(part.c.exchange)
    )


def that_type(columns: Any, *, of_type: bool) -> list[sa.ColumnElement[bool]]:
    """The condition on the job type, where there is one."""
    return [columns.job_type == sa.bindparam("job_type")] if of_type else []
