"""The cost of requests is limited, and each caller has a share of it."""

import asyncio
import json
import socket
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from admin_api.app import AdminApi, build_api
from admin_api.http.expensive_requests import ExpensiveRequests
from admin_api.routes import api_route
from admin_api.routes.api_route import ExpensiveRoute
from runtime.process.http_server import http_server
from store.tables import configs, execution_logs
from support.api import BASE, a_token, client_of, created
from support.locks import WAITING_LOCKS
from support.polling import eventually

pytestmark = pytest.mark.postgres


def is_async(function: Any) -> bool:
    return iscoroutinefunction(function) or isasyncgenfunction(function)


def test_no_dependency_of_a_route_needs_a_thread(api: AdminApi) -> None:
    def calls_of(dependant: Dependant) -> Iterator[Any]:
        for each in dependant.dependencies:
            yield each.call
            yield from calls_of(each)

    calls = {call for route in api.routes if isinstance(route, APIRoute) for call in calls_of(route.dependant)}
    assert len(calls) > 10
    in_a_thread = {call for call in calls if not any(map(is_async, (call, type(call).__call__)))}
    assert not in_a_thread


async def test_the_description_is_built_and_serialized_once(api: AdminApi, monkeypatch: pytest.MonkeyPatch) -> None:
    serialized: list[Any] = []
    dumps = json.dumps

    def counted(value: Any, **options: Any) -> str:
        serialized.append(value)
        return dumps(value, **options)

    monkeypatch.setattr(json, "dumps", counted)
    async with client_of(api, token=None, base="") as anyone:
        answers = await asyncio.gather(*(anyone.get("/openapi.json") for _ in range(20)))
        answers.append(await anyone.get("/openapi.json"))
    assert len(serialized) == 1
    assert {answer.content for answer in answers} == {answers[0].content}
    assert answers[0].json() == api.app.openapi()
    assert answers[0].headers["Content-Type"] == "application/json"


@pytest.fixture
async def six_thousand_configs(api: AdminApi) -> None:
    now = datetime.now(UTC)
    row = {"exchange": "binance", "interval_minutes": 10, "enabled": False, "created_at": now, "updated_at": now}
    rows = [
        {**row, "symbol": f"C{number}/USDT", "timeframes": ["1m", "5m", "1h", "1d"], "description": "x" * 400}
        for number in range(6000)
    ]
    async with api.engine.begin() as connection:
        await connection.execute(sa.insert(configs), rows)


@pytest.mark.usefixtures("six_thousand_configs")
async def test_twenty_exports_at_once_leave_logins_and_other_requests_fast(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    viewer = (await a_token(client, "viewer"))["token"]
    other = (await a_token(client, "viewer"))["token"]
    async with http_server(api.app, "127.0.0.1", 0) as port, asyncio.timeout(120):
        url = f"http://127.0.0.1:{port}{BASE}"
        limits = httpx.Limits(max_connections=50)
        async with (
            httpx.AsyncClient(base_url=url, headers=bearer(viewer), timeout=60, limits=limits) as hostile,
            httpx.AsyncClient(base_url=url, headers=bearer(other), timeout=60) as caller,
        ):
            alone = [await seconds_of(caller, "GET", "/me") for _ in range(20)]
            exports = asyncio.gather(*(hostile.get("/configs/export") for _ in range(20)))
            beside: list[float] = []
            while not exports.done():
                beside.append(await seconds_of(caller, "GET", "/me"))
                beside.append(await seconds_of(caller, "POST", "/sessions"))
            answers = await exports
    assert {answer.status_code for answer in answers} <= {200, 429}
    complete = [answer for answer in answers if answer.status_code == 200]
    assert len(complete) >= 2
    assert {answer.text.count("- exchange: binance\n") for answer in complete} == {6000}
    assert statistics.median(beside) < max(0.2, 20 * statistics.median(alone))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def seconds_of(caller: httpx.AsyncClient, method: str, path: str) -> float:
    began = time.monotonic()
    answer = await caller.request(method, path)
    assert answer.is_success, answer.text
    return time.monotonic() - began


EXPENSIVE = [
    "/configs/export",
    "/execution-logs",
    "/stats",
    "/status",
    "/series",
    "/candles?exchange=binance&symbol=BTC/USDT&timeframe=1m",
    "/candles/chart?exchange=binance&symbol=BTC/USDT&timeframe=1m",
    "/coverage?exchange=binance&symbol=BTC/USDT&timeframe=1m",
    "/completeness",
    "/rejected-candles?exchange=binance&symbol=BTC/USDT&timeframe=1m",
    "/backfills",
    "/incidents?exchange=binance",
    "/reports/top-symbols",
    "/reports/recent-failures",
    "/reports/exchanges",
    "/reports/config-activity?config_id=1",
    "/reports/config-selection",
    "/reports/exchange-use",
    "/reports/history",
    "/execution-logs/export",
    "/reports/next-losses",
    "/audit-log",
]


@pytest.fixture
async def short_waits(a_setting: Callable[..., Any]) -> AsyncIterator[AdminApi]:
    """An API with five connections, in which expensive requests wait only briefly for a place."""
    made = build_api(a_setting())
    api_route.EXPENSIVE_REQUESTS.provide(made.app, ExpensiveRequests.for_pool(5, wait_seconds=0.2))
    async with client_of(made) as client:
        await created(client)
    yield made
    await made.close()


@pytest.mark.parametrize("path", EXPENSIVE)
async def test_expensive_requests_of_one_caller_leave_places_for_others(short_waits: AdminApi, path: str) -> None:
    api = short_waits
    async with client_of(api) as admin:
        callers = [client_of(api, (await a_token(admin, "admin", name=f"n{n}"))["token"]) for n in range(3)]
        async with api.engine.connect() as blocker:
            await blocker.exec_driver_sql("LOCK TABLE data_collection_configs IN ACCESS EXCLUSIVE MODE")
            waiting = [asyncio.create_task(callers[0].get("/configs/export")) for _ in range(2)]
            await eventually(lambda: waiting_exports(api, 2))
            own = await callers[0].get(path)
            assert (own.status_code, own.json()["type"]) == (
                429,
                "urn:candlekeep:problem:too-many-expensive-requests",
            )
            waiting.append(asyncio.create_task(callers[1].get("/configs/export")))
            await eventually(lambda: waiting_exports(api, 3))
            other = await callers[2].get(path)
            assert (other.status_code, other.json()["type"]) == (503, "urn:candlekeep:problem:busy")
            assert int(own.headers["Retry-After"]) > 0 < int(other.headers["Retry-After"])
            for each in callers:
                assert (await each.get("/me")).status_code == 200
                assert (await each.post("/sessions")).status_code == 201
                assert (await each.get("/tokens")).status_code == 200
            assert (await callers[2].get("http://api/health/ready")).status_code == 200
        assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 200, 200]
        assert (await callers[0].get(path)).status_code in {200, 404}
        for each in callers:
            await each.aclose()


async def waiting_exports(api: AdminApi, number: int) -> bool:
    query = f"{WAITING_LOCKS} AND relation = 'data_collection_configs'::regclass"
    async with api.reserved_engine.connect() as connection:
        return bool((await connection.execute(sa.text(query))).scalar_one() == number)


def test_every_list_of_unlimited_rows_is_an_expensive_route(api: AdminApi) -> None:
    expensive = {route.path.removeprefix(BASE) for route in api.routes if isinstance(route, ExpensiveRoute)}
    assert {path.partition("?")[0] for path in EXPENSIVE} <= expensive
    assert {"/configs/apply", "/configs/bulk/create", "/configs/bulk/trigger", "/backfills"} <= expensive
    assert {"/backfills/{backfill_id}/series", "/backfills/{backfill_id}/chunks"} <= expensive


async def test_authentication_and_health_work_while_all_other_connections_are_in_use(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    token = (await a_token(client, "viewer"))["token"]
    async with client_of(api, token) as caller, asyncio.timeout(8), AsyncExitStack() as held:
        for _ in range(api.settings.database_pool_size):
            await held.enter_async_context(api.engine.connect())
        assert (await caller.get("/me")).status_code == 200
        login = await caller.post("/sessions")
        assert login.status_code == 201
        async with client_of(api, token=None) as browser:
            assert (await browser.get("/me", headers={"Cookie": login.headers["Set-Cookie"]})).status_code == 200
        assert (await caller.get("http://api/health/ready")).status_code == 200


@pytest.fixture
async def a_thousand_runs(api: AdminApi) -> None:
    now = datetime.now(UTC)
    row = {"job_name": "collect_data_1", "job_type": "data_collection", "symbol": "A/B", "exchange": "binance"}
    row |= {"status": "failed", "records_collected": 0, "error_message": "x" * 5000, "error_class": "timeout"}
    row |= {"metadata": {}, "config_id": 1, "trigger": "scheduled"}
    times = {"started_at": now, "finished_at": now, "duration_seconds": 0.0, "scheduled_for": now}
    async with api.engine.begin() as connection:
        await connection.execute(sa.insert(execution_logs), [{**row, **times, "run_id": uuid4()} for _ in range(1000)])


@pytest.mark.usefixtures("six_thousand_configs", "a_thousand_runs")
@pytest.mark.parametrize("path", ["/configs/export", "/execution-logs?limit=1000"])
async def test_a_client_that_does_not_read_holds_its_own_place_and_no_other(
    api: AdminApi, client: httpx.AsyncClient, path: str
) -> None:
    api_route.EXPENSIVE_REQUESTS.provide(api.app, ExpensiveRequests(1, 1, wait_seconds=0.3))
    slow, other = [(await a_token(client, "viewer", name=name))["token"] for name in ("slow", "other")]
    async with http_server(api.app, "127.0.0.1", 0) as port, asyncio.timeout(60):
        url = f"http://127.0.0.1:{port}{BASE}"
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=1024)
        request = f"GET {BASE}{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {slow}\r\n\r\n"
        writer.write(request.encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        async with httpx.AsyncClient(base_url=url, timeout=30) as caller:

            async def is_refused() -> bool:
                return (await caller.get(path, headers=bearer(slow))).status_code == 429

            await eventually(is_refused)
            assert (await caller.get(path, headers=bearer(other))).status_code == 200
        writer.transport.abort()
