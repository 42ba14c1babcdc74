"""The process of admin-api: its start, refused starts, and its end."""

import asyncio
import os
import signal
from collections.abc import Callable

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from local_stack.keeper import KeptPostgres
from local_stack.ports import free_port
from support.admin_api_processes import Start, exit_of, response_of
from support.api import BASE, TOKEN, a_config, client_of, created
from support.locks import WAITING_LOCKS
from support.polling import eventually
from support.shared_services import create_database, database_at, drop_database

pytestmark = pytest.mark.postgres

BEARER = {"Authorization": f"Bearer {TOKEN}"}
LoginUrl = Callable[[str], str]


async def test_requests_are_served_while_kafka_is_unavailable_and_the_exit_code_after_sigterm_is_0(
    start: Start, login_url: LoginUrl
) -> None:
    port = free_port()
    process = await start(DATABASE_URL=login_url("admin-api"), HTTP_PORT=str(port))
    await response_of(f"http://127.0.0.1:{port}/health/ready", 200)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
        assert (await client.get("/api/v1/admin/data-collection/status")).json()["total_configs"] == 0
        assert (await client.get("/docs")).status_code == 200
    process.send_signal(signal.SIGTERM)
    code, _, err = await exit_of(process)
    assert code == 0, err
    assert TOKEN not in err


async def test_without_postgres_the_process_is_live_and_not_ready(start: Start) -> None:
    port = free_port()
    process = await start(DATABASE_URL="postgresql://user@127.0.0.1:1/nothing", HTTP_PORT=str(port))
    not_ready = await response_of(f"http://127.0.0.1:{port}/health/ready", 503)
    assert "database" in not_ready.json()["problems"]
    await response_of(f"http://127.0.0.1:{port}/health/live", 200)
    process.send_signal(signal.SIGTERM)
    assert (await exit_of(process))[0] == 0


async def test_the_start_is_refused_if_the_schema_is_older(start: Start, postgres: KeptPostgres) -> None:
    name = f"test_empty_{os.getpid()}"
    await create_database(postgres.url, name, "template0")
    try:
        code, _, err = await exit_of(await start(DATABASE_URL=database_at(postgres.url, name), HTTP_PORT="0"))
    finally:
        await drop_database(postgres.url, name)
    assert code == 1
    assert "python -m store upgrade" in err


async def test_a_port_in_use_is_named(start: Start, login_url: LoginUrl) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        code, _, err = await exit_of(await start(DATABASE_URL=login_url("admin-api"), HTTP_PORT=str(port)))
    assert code == 1
    assert f"127.0.0.1:{port}" in err


async def test_resync_prints_the_number_of_configs_and_needs_no_kafka_and_no_token(
    start: Start, api: AdminApi, login_url: LoginUrl
) -> None:
    async with client_of(api) as client:
        await created(client)
        await created(client, symbol="ETH/USDT")
    process = await start(
        "resync", DATABASE_URL=login_url("admin-api"), KAFKA_BOOTSTRAP_SERVERS="", CANDLEKEEP_ADMIN_TOKEN=""
    )
    code, out, err = await exit_of(process)
    assert (code, err) == (0, "")
    assert out.startswith("Queued 2 configs")


@pytest.mark.parametrize("url", ["postgresql://user@127.0.0.1:1/nothing"])
async def test_resync_without_a_database_fails_with_one_line(start: Start, url: str) -> None:
    code, _, err = await exit_of(await start("resync", DATABASE_URL=url))
    assert code == 1
    assert err.startswith("admin-api: ")
    assert err.count("\n") == 1


async def test_a_request_in_flight_at_sigterm_is_answered_within_the_grace_period(
    start: Start, api: AdminApi, login_url: LoginUrl
) -> None:
    port = free_port()
    process = await start(DATABASE_URL=login_url("admin-api"), HTTP_PORT=str(port), SHUTDOWN_GRACE_SECONDS="20")
    await response_of(f"http://127.0.0.1:{port}/health/ready", 200)
    manifest = {"version": 1, "configs": [a_config()]}
    async with (
        api.engine.begin() as connection,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}{BASE}", headers=BEARER, timeout=30) as client,
    ):
        await connection.execute(sa.text("LOCK TABLE data_collection_configs"))
        applying = asyncio.create_task(client.post("/configs/apply", json=manifest))
        await eventually(lambda: is_waiting_for_a_lock(api), within=10)
        process.send_signal(signal.SIGTERM)
        await connection.execute(sa.select(sa.func.pg_sleep(4)))
        await connection.rollback()
        answer = await applying
    assert (answer.status_code, len(answer.json()["changes"])) == (200, 1), answer.text
    code, _, err = await exit_of(process)
    assert code == 0, err


async def is_waiting_for_a_lock(api: AdminApi) -> bool:
    query = f"{WAITING_LOCKS} AND relation = 'data_collection_configs'::regclass"
    async with api.engine.connect() as connection:
        return bool((await connection.execute(sa.text(query))).scalar_one())


@pytest.mark.parametrize("database", ["available", "unavailable"])
async def test_event_streams_end_at_once_at_sigterm(start: Start, login_url: LoginUrl, database: str) -> None:
    port = free_port()
    url = login_url("admin-api") if database == "available" else "postgresql://user@127.0.0.1:1/nothing"
    process = await start(DATABASE_URL=url, HTTP_PORT=str(port), SHUTDOWN_GRACE_SECONDS="60")
    await response_of(f"http://127.0.0.1:{port}/health/ready", 200 if database == "available" else 503)
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}{BASE}", headers=BEARER, timeout=30) as client,
        client.stream("GET", "/events") as stream,
    ):
        lines = stream.aiter_lines()
        assert await anext(lines) == ": connected"
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            assert [line async for line in lines if line.startswith("event:")] == []
    code, _, err = await exit_of(process)
    assert code == 0, err
