"""Postgres answers late: somebody holds a lock, or all connections are busy. Nobody waits for ever, nothing is lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from local_stack.keeper import KeptKafka
from support.faults.probing import is_live, not_ready_because
from support.faults.replaying import lags
from support.faults.system import Operated, operated
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]
SEED = 20_261_122
PATIENCE = 18
"""Ten seconds for a connection, five for a statement, and a loaded machine."""


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[Operated]:
    async with operated(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        await running.create(30)
        await running.recovered(within=60)
        yield running


@pytest.mark.parametrize("table", ["job_execution_logs", "data_collection_configs"])
async def test_while_a_table_is_locked_callers_are_told_to_come_back_and_writers_catch_up(
    system: Operated, table: str
) -> None:
    async with locked(system, table), patient(system) as api:
        config_id = system.config_ids[0]
        waited = await asyncio.gather(
            timed(api.get("/execution-logs")),
            timed(api.get("/configs")),
            timed(api.put(f"/configs/{config_id}", json={"interval_minutes": 1})),
        )
        blocked = {"job_execution_logs": [0], "data_collection_configs": [1, 2]}[table]
        for number in blocked:
            assert_told_to_come_back(*waited[number])
        assert await is_live(system, "admin-api")
        await asyncio.sleep(max(0.0, 20 - max(seconds for _, seconds in waited)))
        if table == "job_execution_logs":
            assert await lags(system, "log-writer"), "what cannot be written must not be committed"
    await eventually(lambda: answers_well(system), within=10, every=0.2)
    await system.judge()


async def test_when_slow_requests_hold_every_connection_the_rest_are_turned_away_and_it_passes(
    system: Operated,
) -> None:
    async with locked(system, "job_execution_logs"), patient(system) as api:
        waited = await asyncio.gather(*(timed(api.get("/execution-logs")) for _ in range(40)))
        for response, seconds in waited:
            assert_told_to_come_back(response, seconds)
    await eventually(lambda: answers_well(system), within=10, every=0.2)
    await eventually(lambda: is_ready(system), within=10, every=0.2)
    await system.judge()


def assert_told_to_come_back(response: httpx.Response, seconds: float) -> None:
    assert response.status_code == 503, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) > 0
    assert seconds < PATIENCE


async def timed(asking: Awaitable[httpx.Response]) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    return await asking, time.monotonic() - began


async def answers_well(system: Operated) -> bool:
    for path in ("/execution-logs", "/configs"):
        response = await system.api.get(path)
        assert response.is_success, response.text
    return True


async def is_ready(system: Operated) -> bool:
    assert await not_ready_because(system, "admin-api") == {}
    return True


@asynccontextmanager
async def locked(system: Operated, table: str) -> AsyncIterator[None]:
    """Nobody else can so much as read it meanwhile."""
    connection = await asyncpg.connect(system.database_url)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            system.fault("locked", table)
            yield
        system.fault("unlocked", table)
    finally:
        connection.terminate()


@asynccontextmanager
async def patient(system: Operated) -> AsyncIterator[httpx.AsyncClient]:
    """A caller who waits longer than he should have to."""
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(
        base_url=system.api.base_url, headers=system.api.headers, timeout=60, limits=limits
    ) as api:
        yield api
