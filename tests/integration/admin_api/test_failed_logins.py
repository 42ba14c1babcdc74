"""Guesses of one address: they are limited, and never keep out a valid credential of the same address."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi, build_api
from admin_api.auth.token_format import mint
from admin_api.middleware.concurrent_requests import PLACES
from runtime.process.http_server import http_server
from store.tables import sessions
from support.api import BASE, a_token, client_of, stopped_clock

pytestmark = pytest.mark.postgres

LIMIT = 3

CALLERS = 13
"""Callers that together have a hundred requests in progress: each has at most eight."""


@asynccontextmanager
async def restarted(a_setting: Any) -> AsyncIterator[tuple[AdminApi, httpx.AsyncClient]]:
    """A new instance with its HTTP server, and a client without a credential. It has accepted no credential before."""
    api = build_api(a_setting(failed_logins_per_minute=LIMIT), monotonic=stopped_clock)
    async with (
        http_server(api.app, "127.0.0.1", 0) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}{BASE}", timeout=30) as caller,
    ):
        yield api, caller
    await api.close()


@asynccontextmanager
async def counted(a_setting: Any) -> AsyncIterator[tuple[list[str], httpx.AsyncClient]]:
    """The statements of a new instance on its connections for authentication, and a client without a credential."""
    api = build_api(a_setting(failed_logins_per_minute=LIMIT), monotonic=stopped_clock)
    statements: list[str] = []

    @sa.event.listens_for(api.reserved_engine.sync_engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    async with client_of(api, None) as caller:
        yield statements, caller
    await api.close()


async def status(caller: httpx.AsyncClient, token: str) -> int:
    return (await caller.get("/me", headers={"Authorization": f"Bearer {token}"})).status_code


async def guess(caller: httpx.AsyncClient) -> set[int]:
    """Guesses of each kind, at the same time."""
    headers = [{"Authorization": f"Bearer {text}"} for _ in range(5) for text in (mint().text, "a-guess", "ey.a.guess")]
    headers += [{"Cookie": f"candlekeep-session=guess{number}"} for number in range(5)]
    return {answer.status_code for answer in await asyncio.gather(*(caller.get("/me", headers=h) for h in headers))}


async def test_valid_tokens_and_sessions_are_let_in_after_a_restart_while_their_address_guesses(
    client: httpx.AsyncClient, a_setting: Any
) -> None:
    """Each credential is new to the instance, and many guesses of its address arrive at the same time."""
    tokens = [(await a_token(client, "viewer"))["token"] for _ in range(20)]
    async with restarted(a_setting) as (_, caller):
        assert await guess(caller) == {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}
        for token in tokens:
            guesses, valid = await asyncio.gather(guess(caller), status(caller, token))
            assert (guesses, valid) == ({HTTPStatus.TOO_MANY_REQUESTS}, HTTPStatus.OK)
        login = await caller.post("/sessions", headers={"Authorization": f"Bearer {tokens[0]}"})
        assert login.status_code == HTTPStatus.CREATED
    async with restarted(a_setting) as (_, caller):
        await guess(caller)
        cookie = {"Cookie": login.headers["Set-Cookie"].split(";")[0]}
        guesses, answer = await asyncio.gather(guess(caller), caller.get("/me", headers=cookie))
        assert (guesses, answer.status_code) == ({HTTPStatus.TOO_MANY_REQUESTS}, HTTPStatus.OK)


async def test_each_kind_of_guess_has_its_own_limit(a_setting: Any) -> None:
    async with restarted(a_setting) as (_, caller):
        for guesses in (["a-guess"] * (LIMIT + 2), [mint().text for _ in range(LIMIT + 2)]):
            statuses = [await status(caller, each) for each in guesses]
            assert statuses == [HTTPStatus.UNAUTHORIZED] * LIMIT + [HTTPStatus.TOO_MANY_REQUESTS] * 2


async def test_valid_tokens_use_up_no_limit(client: httpx.AsyncClient, a_setting: Any) -> None:
    tokens = [(await a_token(client, "viewer"))["token"] for _ in range(2 * LIMIT)]
    async with restarted(a_setting) as (_, caller):
        assert {await status(caller, token) for token in tokens} == {HTTPStatus.OK}
        assert await status(caller, mint().text) == HTTPStatus.UNAUTHORIZED


async def test_a_revoked_token_is_refused_at_once_while_its_address_guesses(
    client: httpx.AsyncClient, a_setting: Any
) -> None:
    token = await a_token(client, "viewer")
    async with restarted(a_setting) as (_, caller):
        await guess(caller)
        assert await status(caller, token["token"]) == HTTPStatus.OK
        assert (await client.delete(f"/tokens/{token['id']}")).status_code == HTTPStatus.NO_CONTENT
        assert await status(caller, token["token"]) == HTTPStatus.UNAUTHORIZED


async def test_guesses_over_the_limit_share_their_queries(a_setting: Any) -> None:
    async with counted(a_setting) as (queries, caller):
        statuses = await asyncio.gather(*(status(caller, mint().text) for _ in range(300)))
    assert sorted(statuses) == [HTTPStatus.UNAUTHORIZED] * LIMIT + [HTTPStatus.TOO_MANY_REQUESTS] * (300 - LIMIT)
    assert 0 < sum("FROM api_tokens" in each for each in queries) < 20


async def test_valid_credentials_share_their_queries_and_the_write_of_their_last_use(
    client: httpx.AsyncClient, a_setting: Any
) -> None:
    """Otherwise a burst fills the connections for authentication, and the next caller waits for it."""
    tokens = [(await a_token(client, "viewer"))["token"] for _ in range(CALLERS)]
    async with counted(a_setting) as (of_one, caller):
        statuses = await asyncio.gather(*(status(caller, tokens[0]) for _ in range(100)))
    async with counted(a_setting) as (of_many, caller):
        statuses += await asyncio.gather(*(status(caller, token) for token in tokens * PLACES))
    assert set(statuses) == {HTTPStatus.OK}
    assert 0 < sum(each.startswith("SELECT") and "FROM api_tokens" in each for each in of_many) < 20
    assert 0 < sum(each.startswith("UPDATE api_tokens") for each in of_one) < 10


async def test_sessions_share_their_queries_and_the_write_of_their_last_use(
    client: httpx.AsyncClient, api: AdminApi, a_setting: Any
) -> None:
    cookies = []
    for _ in range(CALLERS):
        opened = await client.post("/sessions")
        client.cookies.clear()  # otherwise the next login would end this session
        cookies.append({"Cookie": opened.headers["Set-Cookie"].split(";")[0]})
    async with api.engine.begin() as connection:
        await connection.execute(sa.update(sessions).values(last_seen_at=datetime.now(UTC) - timedelta(minutes=2)))
    async with counted(a_setting) as (of_one, caller):
        answers = await asyncio.gather(*(caller.get("/me", headers=cookies[0]) for _ in range(100)))
    async with counted(a_setting) as (of_many, caller):
        answers += await asyncio.gather(*(caller.get("/me", headers=each) for each in cookies * PLACES))
    assert {each.status_code for each in answers} == {HTTPStatus.OK}
    assert 0 < sum(each.startswith("SELECT") and "FROM sessions" in each for each in of_many) < 20
    assert 0 < sum(each.startswith("UPDATE sessions") for each in of_one) < 10


async def test_a_failed_shared_query_is_an_error_of_each_caller_and_the_next_query_succeeds(
    client: httpx.AsyncClient, a_setting: Any
) -> None:
    token = (await a_token(client, "viewer"))["token"]
    api = build_api(a_setting(failed_logins_per_minute=LIMIT), monotonic=stopped_clock)
    failing = False

    @sa.event.listens_for(api.reserved_engine.sync_engine, "before_cursor_execute")
    def fail(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if failing and "FROM api_tokens" in statement:
            raise OSError("the connection is lost")

    async with client_of(api, None) as caller:
        await asyncio.gather(*(status(caller, mint().text) for _ in range(2 * LIMIT)))
        failing = True
        answers = await asyncio.gather(*(status(caller, each) for each in (token, mint().text)))
        assert answers == [HTTPStatus.SERVICE_UNAVAILABLE] * 2
        failing = False
        assert await status(caller, token) == HTTPStatus.OK
    await api.close()
