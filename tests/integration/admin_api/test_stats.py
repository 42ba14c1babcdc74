import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from admin_api.app import AdminApi
from admin_api.runs import percentiles
from admin_api.runs.hourly_counts import round_up
from admin_api.runs.statistics import stats_of, success_rate
from contracts.vocabulary import ErrorClass
from store.tables import execution_logs

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 11, 22, 12, 34, 56, 789012, tzinfo=UTC)
HALF_A_MICROSECOND = 5.1e-7
SETTLE = sa.text("SELECT settle_run_changes()")

# Sums of decimal numbers, because a sum of floats depends on their order.
PLAIN_SQL = """
SELECT count(*) AS total_executions,
  count(*) FILTER (WHERE status = 'success') AS successful_executions,
  count(*) FILTER (WHERE status = 'failed') AS failed_executions,
  count(*) FILTER (WHERE status = 'running') AS running_executions,
  avg(duration_seconds::numeric) FILTER (WHERE status IN ('success', 'failed')) AS average_duration_seconds,
  coalesce(sum(records_collected), 0) AS total_records_collected,
  max(started_at) AS last_execution,
  count(*) FILTER (WHERE status = 'skipped') AS skipped_executions,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY duration_seconds) FILTER (WHERE status IN ('success', 'failed'))
    AS p50_duration_seconds,
  percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_seconds) FILTER (WHERE status IN ('success', 'failed'))
    AS p95_duration_seconds
FROM job_execution_logs WHERE started_at >= $1 AND ($2::text IS NULL OR job_type = $2)
"""
PLAIN_SQL_ERRORS = """
SELECT error_class, count(*) FROM job_execution_logs
WHERE started_at >= $1 AND ($2::text IS NULL OR job_type = $2) AND status = 'failed' AND error_class IS NOT NULL
GROUP BY 1 ORDER BY 2 DESC, 1
"""


async def plain_stats(connection: asyncpg.Connection, since: datetime, job_type: str | None) -> dict[str, Any]:
    row = dict(await connection.fetchrow(PLAIN_SQL, since, job_type))
    average = row["average_duration_seconds"]
    rate = success_rate(row["successful_executions"], row["failed_executions"])
    rounded = {"success_rate": rate, "average_duration_seconds": None if average is None else round(float(average), 3)}
    return row | rounded | {"errors_by_class": dict(await connection.fetch(PLAIN_SQL_ERRORS, since, job_type))}


def random_rows(rng: random.Random, number: int) -> list[dict[str, Any]]:
    """Runs of the last four days, many of them near the start of an hour."""
    return [a_random_row(rng) for _ in range(number)]


def a_random_row(rng: random.Random) -> dict[str, Any]:
    offset = timedelta(microseconds=rng.choice([-1, 0, 1, rng.randrange(3_600_000_000)]))
    started_at = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=rng.randrange(96)) + offset
    status = rng.choice(["running", "success", "success", "failed", "skipped"])
    seconds = None if status == "running" else rng.choice([0.0, 3.2, round(10 ** rng.uniform(-6, 4), 6)])
    return {
        "job_name": "collect_data_1",
        "job_type": rng.choice(["data_collection", "backfill"]),
        "symbol": "BTC/USDT",
        "exchange": "binance",
        "started_at": started_at,
        "finished_at": None if seconds is None else started_at + timedelta(seconds=seconds),
        "duration_seconds": seconds,
        "status": status,
        "records_collected": rng.randrange(1000),
        "error_class": rng.choice([None, *ErrorClass]) if status in {"failed", "skipped"} else None,
        "metadata": {},
        "run_id": uuid4(),
        "config_id": 1,
        "trigger": "scheduled",
        "scheduled_for": started_at,
    }


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rng=st.randoms(use_true_random=False), number=st.integers(0, 60))
async def test_stats_of_any_window_equal_the_plain_sql(
    api: AdminApi, database_url: str, rng: random.Random, number: int
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("TRUNCATE job_execution_logs")
        for part in range(3):
            async with api.engine.begin() as writer:
                if rows := random_rows(rng, number):
                    await writer.execute(sa.insert(execution_logs), rows)
                if part == 1:
                    await writer.execute(SETTLE)
        for since in (
            NOW - timedelta(hours=rng.randint(1, 100)),
            NOW - timedelta(microseconds=rng.randrange(400_000_000_000)),
            round_up(NOW - timedelta(hours=rng.randint(1, 100)), timedelta(hours=1)),
        ):
            for job_type in (None, "backfill", "nothing"):
                reported = await stats_of(api.engine, since=since, job_type=job_type)
                expected = await plain_stats(connection, since, job_type)
                assert reported.model_dump() == expected
                assert list(reported.errors_by_class) == list(expected["errors_by_class"])
    finally:
        await connection.close()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rng=st.randoms(use_true_random=False), settled=st.booleans())
async def test_percentiles_of_many_runs_are_within_one_percent(
    api: AdminApi, database_url: str, monkeypatch: pytest.MonkeyPatch, rng: random.Random, settled: bool
) -> None:
    monkeypatch.setattr(percentiles, "EXACT_UP_TO", -1)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("TRUNCATE job_execution_logs")
        async with api.engine.begin() as writer:
            await writer.execute(sa.insert(execution_logs), random_rows(rng, rng.randint(1, 300)))
            if settled:
                await writer.execute(SETTLE)
        for hours in (1, 5, 30, 100):
            since = NOW - timedelta(hours=hours)
            for job_type in (None, "backfill"):
                reported = await stats_of(api.engine, since=since, job_type=job_type)
                expected = await plain_stats(connection, since, job_type)
                for name in ("p50_duration_seconds", "p95_duration_seconds"):
                    exact, estimate = expected[name], getattr(reported, name)
                    assert (exact is None) == (estimate is None)
                    assert exact is None or abs(estimate - exact) <= 0.01 * exact + HALF_A_MICROSECOND
    finally:
        await connection.close()


async def test_stats_include_runs_that_log_writer_has_not_counted_yet(
    api: AdminApi, client: httpx.AsyncClient, add_run: Callable[..., Awaitable[int]]
) -> None:
    await add_run(minutes_ago=1)
    async with api.engine.begin() as writer:
        await writer.execute(SETTLE)
    await add_run(minutes_ago=1, status="failed")
    async with api.engine.begin() as holder:
        await holder.execute(SETTLE)
        stats = (await client.get("/stats")).json()
    assert (stats["total_executions"], stats["errors_by_class"]) == (2, {"timeout": 1})
    assert stats == (await client.get("/stats")).json()
