"""A burst of requests of one caller does not delay the requests of another, which arrive later."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from admin_api.app import AdminApi, build_api
from admin_api.auth.authenticator import Authenticator
from admin_api.middleware.concurrent_requests import PLACES
from support.api import a_token, client_of
from support.polling import eventually

pytestmark = pytest.mark.postgres
BURST = 200


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The path of each request whose work has begun."""
    paths: list[str] = []
    authenticate = Authenticator.authenticate

    async def counted(self: Authenticator, scope: Any, *rest: Any) -> Any:
        paths.append(scope["path"])
        return await authenticate(self, scope, *rest)

    monkeypatch.setattr(Authenticator, "authenticate", counted)
    return paths


@pytest.mark.parametrize("credential", ["token", "session"])
async def test_a_burst_of_one_caller_does_not_run_before_the_request_of_another(
    a_setting: Any, started: list[str], credential: str
) -> None:
    api = build_api(a_setting(requests_per_minute=10_000))
    async with client_of(api) as admin, client_of(api, token=None) as sender:
        tokens = [(await a_token(admin, "viewer", name=name))["token"] for name in ("many", "other")]
        headers = {"Authorization": f"Bearer {tokens[0]}"}
        if credential == "session":
            login = await sender.post("/sessions", headers=headers)
            headers = {"Cookie": login.headers["Set-Cookie"].partition(";")[0]}
            sender.cookies.clear()
        async with client_of(api, tokens[1]) as other:
            await other.get("/me")
            started.clear()
            burst = [asyncio.create_task(sender.get("/configs?limit=1", headers=headers)) for _ in range(BURST)]
            await eventually(lambda: _true(len(started) > 0))
            assert (await other.get("/me")).status_code == 200
            before = len(started)
            answers = await asyncio.gather(*burst)
        assert {answer.status_code for answer in answers} == {200}
        assert len(started) == BURST + 1
        assert before < BURST / 4, "the other request waited for most of the burst"
    await api.close()


async def test_waiting_exports_leave_places_for_the_other_requests_of_their_caller(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    token = (await a_token(client, "viewer"))["token"]
    async with client_of(api, token) as caller, api.engine.connect() as blocker:
        await blocker.exec_driver_sql("LOCK TABLE data_collection_configs IN ACCESS EXCLUSIVE MODE")
        exports = [asyncio.create_task(caller.get("/configs/export")) for _ in range(PLACES + 2)]
        await asyncio.sleep(0)
        async with asyncio.timeout(4):
            assert (await caller.get("/me")).status_code == 200
        await blocker.rollback()
        assert {answer.status_code for answer in await asyncio.gather(*exports)} == {200}


async def test_requests_that_wait_for_their_body_leave_places_for_the_other_requests_of_their_caller(
    api: AdminApi, client: httpx.AsyncClient, started: list[str]
) -> None:
    async def never_complete() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    token = (await a_token(client, "admin"))["token"]
    async with client_of(api, token) as caller:
        started.clear()
        waiting = [asyncio.create_task(caller.post("/configs", content=never_complete())) for _ in range(PLACES + 1)]
        await eventually(lambda: _true(len(started) >= PLACES))
        async with asyncio.timeout(10):
            assert (await caller.get("/me")).status_code == 200
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def _true(value: bool) -> bool:
    return value
