"""How long runs took: percentiles, exact for few runs and from log-writer's histogram for many.

The histogram's buckets grow by 2 %, so what is in a bucket is within 1 % of its middle, however short or long.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.vocabulary import RunStatus
from store.tables import execution_logs, run_changes, run_durations

EXACT_UP_TO: Final = 10_000
"""Runs. So many are read one by one within a few milliseconds."""

HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_SHARES: Final = (0.5, 0.95)
_GROWTH: Final = 1.02
"""Of the buckets, as the migration of `run_durations` says."""
_MICROSECONDS: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Pair = tuple[float | None, float | None]


async def p50_and_p95(connection: AsyncConnection, since: datetime, job_type: str | None, runs: int) -> Pair:
    """In seconds, of the runs that succeeded or failed among the `runs` that started at or after `since`."""
    if runs <= EXACT_UP_TO:
        return await _from_the_log(connection, since, job_type)
    return from_buckets(await _buckets(connection, since, job_type))


def rounded_up(instant: datetime, span: timedelta) -> datetime:
    """The first whole hour or day, in UTC, that does not begin before `instant`."""
    return instant + (_EPOCH - instant) % span


def from_buckets(runs: Mapping[int, int]) -> Pair:
    """From the runs per bucket; None twice when there are none."""
    total = sum(runs.values())
    p50, p95 = (_seconds(_bucket_at(runs, math.ceil(share * total))) if total > 0 else None for share in _SHARES)
    return p50, p95


def _bucket_at(runs: Mapping[int, int], rank: int) -> int:
    """Where the run is that is number `rank` from the shortest on."""
    seen = 0
    for bucket in sorted(runs):
        seen += runs[bucket]
        if seen >= rank:
            return bucket
    raise ValueError(f"there are {seen} runs, so none is number {rank}")


def _seconds(bucket: int) -> float:
    """The middle of a bucket: its relative distance is the same to both borders."""
    return round(2 * _GROWTH**bucket / (_GROWTH + 1) / _MICROSECONDS, 6) if bucket else 0.0


async def _from_the_log(connection: AsyncConnection, since: datetime, job_type: str | None) -> Pair:
    logs = execution_logs.c
    query = sa.select(*(sa.func.percentile_disc(share).within_group(logs.duration_seconds) for share in _SHARES)).where(
        logs.started_at >= since, *_counted(logs, job_type)
    )
    p50, p95 = (await connection.execute(query)).one()
    return p50, p95


async def _buckets(connection: AsyncConnection, since: datetime, job_type: str | None) -> dict[int, int]:
    logs, known, notes = execution_logs.c, run_durations.c, run_changes.c
    first_hour, first_day = rounded_up(since, HOUR), rounded_up(since, _DAY)
    of_type = [known.job_type == job_type] if job_type is not None else []
    parts = sa.union_all(
        sa.select(
            sa.func.run_duration_bucket(logs.duration_seconds).label("bucket"), sa.literal(1).label("runs")
        ).where(logs.started_at >= since, logs.started_at < first_hour, *_counted(logs, job_type)),
        sa.select(known.bucket, known.runs).where(
            known.span == "hour", known.begins >= first_hour, known.begins < first_day, *of_type
        ),
        sa.select(known.bucket, known.runs).where(known.span == "day", known.begins >= first_day, *of_type),
        sa.select(notes.bucket, notes.runs).where(notes.hour >= first_hour, *_counted(notes, job_type)),
    ).subquery()
    query = (
        sa.select(parts.c.bucket, sa.func.sum(parts.c.runs)).where(parts.c.bucket.is_not(None)).group_by(parts.c.bucket)
    )
    return {bucket: int(runs) for bucket, runs in (await connection.execute(query)).all()}


def _counted(columns: Any, job_type: str | None) -> list[sa.ColumnElement[bool]]:
    outcome = columns.status.in_([RunStatus.SUCCESS, RunStatus.FAILED])
    return [outcome] if job_type is None else [outcome, columns.job_type == job_type]
