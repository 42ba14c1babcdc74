"""Compares the counts of the run log with the same counts computed from its rows."""

from typing import Any

HOURS_DIFFER = """
WITH log AS (
  SELECT date_trunc('hour', started_at, 'UTC') AS hour, job_type, status, coalesce(error_class, '') AS error_class,
    count(*) AS runs, count(duration_seconds) AS timed_runs,
    coalesce(sum(round(duration_seconds::numeric * 1000000)), 0)::bigint AS microseconds,
    sum(records_collected) AS records
  FROM job_execution_logs GROUP BY 1, 2, 3, 4
), counts AS (
  SELECT hour, job_type, status, error_class, sum(runs)::bigint AS runs, sum(timed_runs)::bigint AS timed_runs,
    sum(duration_microseconds)::bigint AS microseconds, sum(records)::bigint AS records
  FROM (
    SELECT hour, job_type, status, error_class, runs, timed_runs, duration_microseconds, records FROM run_hours
    UNION ALL SELECT hour, job_type, status, error_class, runs, CASE WHEN bucket IS NULL THEN 0 ELSE runs END,
      duration_microseconds, records FROM run_changes
  ) AS both_counts GROUP BY 1, 2, 3, 4
  HAVING (sum(runs), sum(timed_runs), sum(duration_microseconds), sum(records)) <> (0, 0, 0, 0)
)
(SELECT 'only in the log', * FROM (TABLE log EXCEPT TABLE counts) AS missing)
UNION ALL (SELECT 'only counted', * FROM (TABLE counts EXCEPT TABLE log) AS surplus)
"""

DURATIONS_DIFFER = """
WITH log AS (
  SELECT span, date_trunc(span, started_at, 'UTC') AS begins, job_type,
    CASE WHEN duration_seconds < 0.000001 THEN 0
      ELSE 1 + floor(log(1.02, round(duration_seconds::numeric * 1000000))) END::int AS bucket, count(*) AS runs
  FROM job_execution_logs, unnest(ARRAY['hour', 'day']) AS span
  WHERE status IN ('success', 'failed') AND duration_seconds IS NOT NULL GROUP BY 1, 2, 3, 4
), counts AS (
  SELECT span, begins, job_type, bucket, sum(runs)::bigint AS runs
  FROM (
    TABLE run_durations
    UNION ALL SELECT span, date_trunc(span, hour, 'UTC'), job_type, bucket, runs
    FROM run_changes, unnest(ARRAY['hour', 'day']) AS span WHERE status IN ('success', 'failed') AND bucket IS NOT NULL
  ) AS both_counts GROUP BY 1, 2, 3, 4 HAVING sum(runs) <> 0
)
(SELECT 'only in the log', * FROM (TABLE log EXCEPT TABLE counts) AS missing)
UNION ALL (SELECT 'only counted', * FROM (TABLE counts EXCEPT TABLE log) AS surplus)
"""

EXCHANGES_DIFFER = """
WITH log AS (
  SELECT date_trunc('hour', started_at, 'UTC') AS hour, job_type, exchange, count(*) AS runs,
    sum(round(duration_seconds::numeric * 1000000))::bigint AS microseconds, sum(records_collected) AS records
  FROM job_execution_logs WHERE duration_seconds IS NOT NULL GROUP BY 1, 2, 3
), counts AS (
  SELECT hour, job_type, exchange, sum(runs)::bigint AS runs, sum(duration_microseconds)::bigint AS microseconds,
    sum(records)::bigint AS records
  FROM (TABLE run_exchange_hours UNION ALL TABLE run_exchange_changes) AS both_counts GROUP BY 1, 2, 3
  HAVING (sum(runs), sum(duration_microseconds), sum(records)) <> (0, 0, 0)
)
(SELECT 'only in the log', * FROM (TABLE log EXCEPT TABLE counts) AS missing)
UNION ALL (SELECT 'only counted', * FROM (TABLE counts EXCEPT TABLE log) AS surplus)
"""


async def count_differences(connection: Any) -> list[tuple[Any, ...]]:
    """The differences between the run log and its counts, including run changes that are not added yet.

    `connection` is a connection of asyncpg.
    """
    differences = [*await connection.fetch(HOURS_DIFFER), *await connection.fetch(DURATIONS_DIFFER)]
    differences += await connection.fetch(EXCHANGES_DIFFER)
    return [tuple(row) for row in differences]
