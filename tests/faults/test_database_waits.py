"""Postgres responds late: a session holds a lock, or all connections are busy. Every wait ends, and nothing is lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from local_stack.keeper import KeptKafka
from support.faults.process_state import is_live, readiness_problems
from support.faults.replay import lags
from support.faults.system import RunningSystem, running_system
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]
SEED = 20_261_122
MAX_WAIT_SECONDS = 18
"""Ten seconds for a connection, five for a statement, and some for a busy machine."""


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[RunningSystem]:
    async with running_system(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        await running.create(30)
        await running.wait_until_recovered(within=60)
        yield running


@pytest.mark.parametrize("table", ["job_execution_logs", "data_collection_configs"])
async def test_while_a_table_is_locked_requests_get_a_503_with_retry_after_and_writers_catch_up_later(
    system: RunningSystem, table: str
) -> None:
    async with locked(system, table), patient_client(system) as api:
        config_id = system.config_ids[0]
        waited = await asyncio.gather(
            timed(api.get("/execution-logs")),
            timed(api.get("/configs")),
            timed(api.put(f"/configs/{config_id}", json={"interval_minutes": 1})),
        )
        blocked = {"job_execution_logs": [0], "data_collection_configs": [1, 2]}[table]
        for number in blocked:
            assert_refused_with_retry_after(*waited[number], {503})
        assert await is_live(system, "admin-api")
        await asyncio.sleep(max(0.0, 20 - max(seconds for _, seconds in waited)))
        if table == "job_execution_logs":
            assert await lags(system, "log-writer"), "log-writer committed messages that it could not write"
    await eventually(lambda: responds_normally(system), within=10, every=0.2)
    await system.judge()


async def test_when_slow_requests_hold_their_connections_others_are_refused_and_the_system_recovers(
    system: RunningSystem,
) -> None:
    """The requests of one caller take only some of the places for expensive ones. Further ones get a 429."""
    async with locked(system, "job_execution_logs"), patient_client(system) as api:
        waited = await asyncio.gather(*(timed(api.get("/execution-logs")) for _ in range(40)))
        for response, seconds in waited:
            assert_refused_with_retry_after(response, seconds, {429, 503})
        assert {response.status_code for response, _ in waited} == {429, 503}
    await eventually(lambda: responds_normally(system), within=10, every=0.2)
    await eventually(lambda: is_ready(system), within=10, every=0.2)
    await system.judge()


def assert_refused_with_retry_after(response: httpx.Response, seconds: float, statuses: set[int]) -> None:
    assert response.status_code in statuses, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) > 0
    assert seconds < MAX_WAIT_SECONDS


async def timed(request: Awaitable[httpx.Response]) -> tuple[httpx.Response, float]:
    started = time.monotonic()
    return await request, time.monotonic() - started


async def responds_normally(system: RunningSystem) -> bool:
    for path in ("/execution-logs", "/configs"):
        response = await system.api.get(path)
        assert response.is_success, response.text
    return True


async def is_ready(system: RunningSystem) -> bool:
    assert await readiness_problems(system, "admin-api") == {}
    return True


@asynccontextmanager
async def locked(system: RunningSystem, table: str) -> AsyncIterator[None]:
    """Lock the table until the block ends, so that no other session can read it."""
    connection = await asyncpg.connect(system.database_url)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            system.record_fault("locked", table)
            yield
        system.record_fault("unlocked", table)
    finally:
        connection.terminate()


@asynccontextmanager
async def patient_client(system: RunningSystem) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a timeout that is longer than every limit of the API."""
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(
        base_url=system.api.base_url, headers=system.api.headers, timeout=60, limits=limits
    ) as api:
        yield api
