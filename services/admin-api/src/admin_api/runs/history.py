"""The runs by UTC hour or day, from the hourly counts. The run log itself is not read."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.http.input_types import Input, QueryInteger
from admin_api.runs.hourly_counts import Count, average_duration, errors_by_class
from admin_api.runs.percentiles import middle_of_bucket
from admin_api.runs.schemas import RunsOfSpan
from admin_api.runs.statistics import success_rate, with_snapshot
from admin_api.writes.transactions import reading
from contracts.vocabulary import JobType, RunStatus

MAX_HOURS: Final = 720
Span = Literal["hour", "day"]
_LENGTHS: Final[dict[Span, timedelta]] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_COUNTS: Final = sa.text("""
SELECT date_trunc(:span, hour, 'UTC') AS begins, status, error_class, sum(runs)::bigint AS runs,
       sum(timed_runs)::bigint AS timed_runs, sum(duration_microseconds) AS duration_microseconds,
       sum(records) AS records
FROM (
  SELECT hour, status, error_class, runs, timed_runs, duration_microseconds, records
  FROM run_hours WHERE hour >= :first AND job_type = :job_type
  UNION ALL
  SELECT hour, status, error_class, runs, CASE WHEN bucket IS NULL THEN 0 ELSE runs END, duration_microseconds, records
  FROM run_changes WHERE hour >= :first AND job_type = :job_type
) AS counted GROUP BY 1, status, error_class
""")

# Selects the duration bucket of the median run, and the duration bucket of the 95th percentile. A rank includes all
# rows of its bucket: the hourly counts and the changes that are not added yet. Sums of float8 are exact for these
# numbers, and several times faster than numeric.
_PERCENTILES: Final = sa.text("""
WITH counted AS (
  SELECT begins, bucket, runs::float8 AS runs FROM run_durations
  WHERE span = :span AND begins >= :first AND job_type = :job_type
  UNION ALL
  SELECT date_trunc(:span, hour, 'UTC'), bucket, runs::float8 FROM run_changes
  WHERE hour >= :first AND job_type = :job_type AND bucket IS NOT NULL AND status IN ('success', 'failed')
), ranked AS (
  SELECT begins, bucket, sum(runs) OVER (PARTITION BY begins ORDER BY bucket) AS rank,
         sum(runs) OVER (PARTITION BY begins) AS total
  FROM counted
)
SELECT begins, min(bucket) FILTER (WHERE rank >= ceil(total * 0.5)) AS p50,
       min(bucket) FILTER (WHERE rank >= ceil(total * 0.95)) AS p95
FROM ranked WHERE total > 0 GROUP BY begins
""")


class HistoryQuery(Input):
    """Unknown parameters are refused."""

    hours: QueryInteger = Field(
        default=24,
        ge=1,
        le=MAX_HOURS,
        description="The whole hours or days since `hours` hours ago, and the current one.",
    )
    span: Span = Field(default="hour", description="`hour`: one entry per UTC hour; `day`: per UTC day.")


async def history(engine: AsyncEngine, query: HistoryQuery, now: datetime) -> list[RunsOfSpan]:
    """One entry per hour or day, the oldest first. Hours and days without runs also have an entry.

    Only runs of the type `data_collection` are counted.
    """
    length = _LENGTHS[query.span]
    since = now - timedelta(hours=query.hours)
    first = since - (since - _EPOCH) % length
    values = {"span": query.span, "first": first, "job_type": JobType.DATA_COLLECTION.value}
    counts: dict[datetime, list[Count]] = defaultdict(list)
    async with reading(with_snapshot(engine)) as connection:
        for row in await connection.execute(_COUNTS, values):
            count = Count(
                row.status,
                row.error_class,
                None,
                row.runs,
                row.timed_runs,
                int(row.duration_microseconds),
                int(row.records),
            )
            counts[row.begins].append(count)
        buckets = {row.begins: (row.p50, row.p95) for row in await connection.execute(_PERCENTILES, values)}
    begins = (first + number * length for number in range((now - first) // length + 1))
    return [_entry(each, counts[each], buckets.get(each, (None, None))) for each in begins]


def _entry(begins: datetime, counts: list[Count], buckets: tuple[Any, Any]) -> RunsOfSpan:
    runs = {status: sum(each.runs for each in counts if each.status == status) for status in RunStatus}
    p50, p95 = (None if each is None else middle_of_bucket(each) for each in buckets)
    return RunsOfSpan(
        begins=begins,
        executions=sum(runs.values()),
        successful=runs[RunStatus.SUCCESS],
        failed=runs[RunStatus.FAILED],
        skipped=runs[RunStatus.SKIPPED],
        running=runs[RunStatus.RUNNING],
        success_rate=success_rate(runs[RunStatus.SUCCESS], runs[RunStatus.FAILED]),
        avg_duration=average_duration(counts),
        p50_duration=p50,
        p95_duration=p95,
        total_records=sum(each.records for each in counts),
        errors_by_class=errors_by_class(counts),
    )
