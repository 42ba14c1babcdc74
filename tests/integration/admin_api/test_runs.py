from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from store.tables import scheduled_jobs
from support.api import created

pytestmark = pytest.mark.postgres

AddRun = Callable[..., Awaitable[int]]
GUIDE_FIELDS = [
    "id",
    "job_name",
    "job_type",
    "symbol",
    "exchange",
    "timeframe",
    "started_at",
    "finished_at",
    "duration_seconds",
    "status",
    "records_collected",
    "error_message",
    "metadata",
]


async def test_a_log_has_the_fields_of_the_guide_and_then_the_other_fields(
    client: httpx.AsyncClient, add_run: AddRun
) -> None:
    run_id = uuid4()
    log_id = await add_run(started_at=datetime(2025, 1, 15, 10, tzinfo=UTC), run_id=run_id)
    [listed] = (await client.get("/execution-logs")).json()
    assert list(listed) == [*GUIDE_FIELDS, "run_id", "config_id", "trigger", "scheduled_for", "error_class"]
    assert (listed["started_at"], listed["duration_seconds"]) == ("2025-01-15T10:00:00Z", 3.2)
    assert (listed["timeframe"], listed["run_id"]) == (None, str(run_id))
    assert listed["metadata"]["timeframes"] == ["1m", "1h"]
    assert (await client.get(f"/execution-logs/{log_id}")).json() == listed


async def test_logs_are_listed_latest_first_and_in_pages(client: httpx.AsyncClient, add_run: AddRun) -> None:
    instant = datetime(2025, 1, 15, tzinfo=UTC)
    ids = [await add_run(started_at=instant) for _ in range(3)]
    older = await add_run(started_at=instant - timedelta(minutes=1))
    latest_first = [*reversed(ids), older]
    for params, expected in (
        ({}, latest_first),
        ({"limit": 2}, latest_first[:2]),
        ({"skip": 2, "limit": 2}, latest_first[2:]),
        ({"skip": 9}, []),
    ):
        page = await client.get("/execution-logs", params=params)
        assert [log["id"] for log in page.json()] == expected, params
        assert page.headers["X-Total-Count"] == "4"


async def test_every_filter_narrows_the_logs_and_the_total(client: httpx.AsyncClient, add_run: AddRun) -> None:
    noon = datetime(2025, 1, 15, 12, tzinfo=UTC)
    run_id = uuid4()
    plain = await add_run(started_at=noon)
    other = await add_run(
        started_at=noon + timedelta(hours=1),
        config_id=2,
        symbol="ETH/EUR",
        exchange="kraken",
        status="failed",
        job_type="backfill",
        run_id=run_id,
    )
    running = await add_run(started_at=noon + timedelta(hours=2), status="running")
    skipped = await add_run(started_at=noon + timedelta(hours=3), status="skipped")
    for params, expected in (
        ({"job_name": "collect_data_2"}, [other]),
        ({"job_type": "backfill"}, [other]),
        ({"job_type": "data_collection"}, [skipped, running, plain]),
        ({"symbol": "ETH/EUR"}, [other]),
        ({"exchange": "kraken"}, [other]),
        ({"config_id": 2}, [other]),
        ({"run_id": str(run_id)}, [other]),
        ({"status": "success"}, [plain]),
        ({"status": "failed"}, [other]),
        ({"status": "running"}, [running]),
        ({"status": "skipped"}, [skipped]),
        ({"start_date": "2025-01-15T13:00:00Z"}, [skipped, running, other]),
        ({"end_date": "2025-01-15T13:00:00Z"}, [plain]),
        ({"start_date": "2025-01-15T13:00:00", "end_date": "2025-01-15T14:00:00"}, [other]),
        ({"start_date": "2025-01-15T14:30:00+01:30", "end_date": "2025-01-15T14:00:00Z"}, [other]),
        ({"start_date": "2025-01-16"}, []),
        ({"symbol": "BTC/USDT", "status": "running"}, [running]),
        ({"job_name": "unknown"}, []),
    ):
        page = await client.get("/execution-logs", params=params)
        assert [log["id"] for log in page.json()] == expected, params
        assert page.headers["X-Total-Count"] == str(len(expected)), params


async def test_a_plus_in_a_date_that_the_url_decoded_to_a_space_is_accepted(
    client: httpx.AsyncClient, add_run: AddRun
) -> None:
    log_id = await add_run(started_at=datetime(2025, 1, 15, 12, tzinfo=UTC))
    response = await client.get("/execution-logs?start_date=2025-01-15T14:00:00+02:00")
    assert [log["id"] for log in response.json()] == [log_id]


async def test_dates_in_the_wrong_order_are_refused(client: httpx.AsyncClient) -> None:
    response = await client.get("/execution-logs", params={"start_date": "2025-01-02", "end_date": "2025-01-01"})
    assert response.status_code == 422
    [error] = response.json()["errors"]
    assert (error["pointer"], error["where"]) == ("#/start_date", "query")


async def test_stats_without_runs_are_zeros_and_nulls(client: httpx.AsyncClient) -> None:
    assert (await client.get("/stats")).json() == {
        "total_executions": 0,
        "successful_executions": 0,
        "failed_executions": 0,
        "running_executions": 0,
        "success_rate": 0.0,
        "average_duration_seconds": None,
        "total_records_collected": 0,
        "last_execution": None,
        "skipped_executions": 0,
        "p50_duration_seconds": None,
        "p95_duration_seconds": None,
        "errors_by_class": {},
    }


async def test_stats_count_running_and_skipped_runs_separately(client: httpx.AsyncClient, add_run: AddRun) -> None:
    await add_run(duration_seconds=1.0)
    await add_run(duration_seconds=2.0)
    await add_run(duration_seconds=6.0, status="failed")
    await add_run(status="skipped", duration_seconds=0.0)
    await add_run(status="running", minutes_ago=1)
    await add_run(minutes_ago=25 * 60, records_collected=1000)
    await add_run(job_type="backfill", minutes_ago=2, duration_seconds=11.0)
    collection = (await client.get("/stats", params={"job_type": "data_collection"})).json()
    assert collection.pop("last_execution") is not None
    assert collection == {
        "total_executions": 5,
        "successful_executions": 2,
        "failed_executions": 1,
        "running_executions": 1,
        "success_rate": 66.67,
        "average_duration_seconds": 3.0,
        "total_records_collected": 12,
        "skipped_executions": 1,
        "p50_duration_seconds": 2.0,
        "p95_duration_seconds": 6.0,
        "errors_by_class": {"timeout": 1},
    }
    everything = (await client.get("/stats", params={"hours": 24})).json()
    assert (everything["total_executions"], everything["average_duration_seconds"]) == (6, 5.0)
    longer = (await client.get("/stats", params={"hours": 26})).json()
    assert (longer["total_executions"], longer["total_records_collected"]) == (7, 1018)


async def test_status_counts_the_jobs_of_the_scheduler_and_not_enabled_configs(
    api: AdminApi, client: httpx.AsyncClient, add_run: AddRun
) -> None:
    await created(client)
    await created(client, symbol="ETH/USDT")
    await created(client, symbol="SOL/USDT", enabled=False)
    job = {"job_name": "x", "exchange": "binance", "symbol": "BTC/USDT", "interval_minutes": 1, "config_version": 1}
    rows = [job | {"config_id": n, "active": n == 1, "updated_at": datetime.now(UTC)} for n in (1, 2)]
    async with api.engine.begin() as connection:
        await connection.execute(sa.insert(scheduled_jobs), rows)
    ids = [await add_run(minutes_ago=100 - n) for n in range(12)]
    for job_type in ("backfill", "repair"):  # runs of ranges are neither in the list nor in the statistics
        await add_run(minutes_ago=1, job_type=job_type, trigger="range", status="failed")
    status = (await client.get("/status")).json()
    assert list(status) == [
        "total_configs",
        "enabled_configs",
        "disabled_configs",
        "active_jobs",
        "recent_executions",
        "stats",
    ]
    assert [status[name] for name in list(status)[:4]] == [3, 2, 1, 1]
    assert [log["id"] for log in status["recent_executions"]] == ids[:1:-1]
    assert status["stats"] == (await client.get("/stats", params={"job_type": "data_collection"})).json()
    assert status["stats"]["failed_executions"] == 0
