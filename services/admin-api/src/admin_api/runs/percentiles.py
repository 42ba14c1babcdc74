"""How long runs took: percentiles, exact for few runs and from log-writer's histogram for many.

The histogram's buckets grow by 2 %, so what is in a bucket is within 1 % of its middle, however short or long.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.runs.hourly_counts import HOUR, Count, rounded_up, that_type
from contracts.vocabulary import RunStatus
from store.tables import execution_logs, run_durations

EXACT_UP_TO: Final = 10_000
"""Runs. So many are read one by one within a few milliseconds."""

_DAY: Final = timedelta(days=1)
_SHARES: Final = (0.5, 0.95)
_GROWTH: Final = 1.02
"""Of the buckets, as the migration of `run_durations` says."""
_MICROSECONDS: Final = 1_000_000
_OUTCOMES: Final = (RunStatus.SUCCESS, RunStatus.FAILED)

Pair = tuple[float | None, float | None]


async def p50_and_p95(
    connection: AsyncConnection, since: datetime, job_type: str | None, counts: Sequence[Count]
) -> Pair:
    """In seconds, of the runs that succeeded or failed; `counts` are those of the same runs."""
    of_type = job_type is not None
    values: dict[str, Any] = {"since": since, "job_type": job_type}
    if sum(each.runs for each in counts) <= EXACT_UP_TO:
        p50, p95 = (await connection.execute(_exact(of_type=of_type), values)).one()
        return p50, p95
    values |= {"first_hour": rounded_up(since, HOUR), "first_day": rounded_up(since, _DAY)}
    runs: Counter[int] = Counter()
    for bucket, more in (await connection.execute(_whole_hours(of_type=of_type), values)).all():
        runs[bucket] += more
    for each in counts:
        if each.bucket is not None and each.status in _OUTCOMES:
            runs[each.bucket] += each.runs
    return from_buckets(runs)


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


@cache
def _exact(*, of_type: bool) -> sa.Select[Any]:
    logs = execution_logs.c
    shares = (sa.func.percentile_disc(share).within_group(logs.duration_seconds) for share in _SHARES)
    return sa.select(*shares).where(
        logs.started_at >= sa.bindparam("since"), logs.status.in_(_OUTCOMES), *that_type(logs, of_type=of_type)
    )


@cache
def _whole_hours(*, of_type: bool) -> sa.Select[Any]:
    """Runs per bucket, of hours up to the first whole day and of days from then on."""
    known = run_durations.c
    first_day: sa.BindParameter[datetime] = sa.bindparam("first_day")
    hours = sa.and_(known.span == "hour", known.begins >= sa.bindparam("first_hour"), known.begins < first_day)
    days = sa.and_(known.span == "day", known.begins >= first_day)
    parts = sa.union_all(
        *(sa.select(known.bucket, known.runs).where(each, *that_type(known, of_type=of_type)) for each in (hours, days))
    ).subquery()
    runs = sa.cast(sa.func.sum(parts.c.runs), sa.BigInteger)
    return sa.select(parts.c.bucket, runs).group_by(parts.c.bucket)
