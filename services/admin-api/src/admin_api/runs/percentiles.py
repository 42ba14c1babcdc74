"""Percentiles of the duration of runs: exact for few runs, estimated from log-writer's histogram for many.

Each bucket of the histogram is 2 % wider than the one before. So a duration differs from the middle of its bucket by at
most 1 %.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.runs.hourly_counts import HOUR, Count, job_type_filter, round_up
from contracts.vocabulary import RunStatus
from store.statistics_tables import run_durations
from store.tables import execution_logs

EXACT_UP_TO: Final = 10_000
"""Percentiles are exact up to this number of runs. The query reads this number of runs within a few milliseconds."""

_DAY: Final = timedelta(days=1)
_SHARES: Final = (0.5, 0.95)
_GROWTH: Final = 1.02
"""The ratio of the widths of two neighbouring buckets, as in the migration of `run_durations`."""
_MICROSECONDS: Final = 1_000_000
_OUTCOMES: Final = (RunStatus.SUCCESS, RunStatus.FAILED)

Percentiles = tuple[float | None, float | None]


async def p50_and_p95(
    connection: AsyncConnection, since: datetime, job_type: str | None, counts: Sequence[Count]
) -> Percentiles:
    """Both percentiles in seconds, of the runs that succeeded or failed. `counts` are the counts of the same runs."""
    of_type = job_type is not None
    values: dict[str, Any] = {"since": since, "job_type": job_type}
    if sum(each.runs for each in counts) <= EXACT_UP_TO:
        p50, p95 = (await connection.execute(_exact(of_type=of_type), values)).one()
        return p50, p95
    values |= {"first_hour": round_up(since, HOUR), "first_day": round_up(since, _DAY)}
    runs: Counter[int] = Counter()
    for bucket, count in (await connection.execute(_whole_hours(of_type=of_type), values)).all():
        runs[bucket] += count
    for each in counts:
        if each.bucket is not None and each.status in _OUTCOMES:
            runs[each.bucket] += each.runs
    return from_buckets(runs)


def from_buckets(runs: Mapping[int, int]) -> Percentiles:
    """Percentiles of a histogram (runs by bucket); both are None if it contains no runs."""
    total = sum(runs.values())
    p50, p95 = (
        middle_of_bucket(_bucket_at(runs, math.ceil(share * total))) if total > 0 else None for share in _SHARES
    )
    return p50, p95


def _bucket_at(runs: Mapping[int, int], rank: int) -> int:
    """The bucket of the run with this rank; the shortest run has rank 1."""
    seen = 0
    for bucket in sorted(runs):
        seen += runs[bucket]
        if seen >= rank:
            return bucket
    raise ValueError(f"there is no rank {rank} among {seen} runs")


def middle_of_bucket(bucket: int) -> float:
    """The middle of a bucket, in seconds.

    The relative error is the same for durations at both borders of the bucket.
    """
    return round(2 * _GROWTH**bucket / (_GROWTH + 1) / _MICROSECONDS, 6) if bucket else 0.0


@cache
def _exact(*, of_type: bool) -> sa.Select[Any]:
    logs = execution_logs.c
    shares = (sa.func.percentile_disc(share).within_group(logs.duration_seconds) for share in _SHARES)
    return sa.select(*shares).where(
        logs.started_at >= sa.bindparam("since"), logs.status.in_(_OUTCOMES), *job_type_filter(logs, of_type=of_type)
    )


@cache
def _whole_hours(*, of_type: bool) -> sa.Select[Any]:
    """Runs by bucket, from the hourly histogram before the first whole day and from the daily one after it."""
    durations = run_durations.c
    first_day: sa.BindParameter[datetime] = sa.bindparam("first_day")
    hours = sa.and_(
        durations.span == "hour", durations.begins >= sa.bindparam("first_hour"), durations.begins < first_day
    )
    days = sa.and_(durations.span == "day", durations.begins >= first_day)
    parts = sa.union_all(
        *(
            sa.select(durations.bucket, durations.runs).where(each, *job_type_filter(durations, of_type=of_type))
            for each in (hours, days)
        )
    ).subquery()
    runs = sa.cast(sa.func.sum(parts.c.runs), sa.BigInteger)
    return sa.select(parts.c.bucket, runs).group_by(parts.c.bucket)
