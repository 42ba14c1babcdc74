"""A token that a session creates may do no more, and ends no later, than the token that opened the session."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from admin_api.app import AdminApi, build_api
from support.api import TOKEN, a_token, client_of
from support.identity_provider import AUDIENCE, ISSUER, a_jwt, a_key, key_server

pytestmark = pytest.mark.postgres


@asynccontextmanager
async def session_of(api: AdminApi, token: str) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that has exchanged this token for a session."""
    async with client_of(api, None) as browser:
        assert (await browser.post("/sessions", headers={"Authorization": f"Bearer {token}"})).status_code == 201
        browser.headers.update({"X-CSRF-Protection": "1", "Sec-Fetch-Site": "same-origin"})
        yield browser


async def create(caller: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await caller.post("/tokens", json={"name": "new", "role": "admin"} | body)


def end_of(token: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(token["expires_at"])


async def test_a_token_of_a_session_ends_at_the_latest_with_the_token_of_the_session(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    opener = await a_token(client, "admin", expires_in_days=10)
    async with session_of(api, opener["token"]) as session:
        for too_long in (11, 3650, None):
            refused = await create(session, expires_in_days=too_long)
            assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/expires_in_days")
        by_default = await create(session)
        assert (by_default.status_code, end_of(by_default.json())) == (201, end_of(opener))
        shorter = await create(session, expires_in_days=9)
        assert (shorter.status_code, end_of(shorter.json()) < end_of(opener)) == (201, True)
    names = (await client.get("/tokens")).json()
    assert len(names) == 3


async def test_a_session_cannot_rotate_a_token_beyond_its_own(api: AdminApi, client: httpx.AsyncClient) -> None:
    opener = await a_token(client, "admin", expires_in_days=10)
    longer = await a_token(client, "viewer", expires_in_days=20)
    endless = await a_token(client, "admin", expires_in_days=None)
    shorter = await a_token(client, "viewer", expires_in_days=5)
    async with session_of(api, opener["token"]) as session:
        for each in (longer, endless, opener):
            assert (await session.post(f"/tokens/{each['id']}/rotate")).status_code == 403
        rotated = await session.post(f"/tokens/{shorter['id']}/rotate")
        assert (rotated.status_code, end_of(rotated.json()) < end_of(opener)) == (201, True)
    active = {each["id"] for each in (await client.get("/tokens", params={"active": True})).json()}
    assert {longer["id"], endless["id"], opener["id"]} < active


async def test_a_token_that_is_replaced_limits_its_sessions_to_the_grace_time(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    opener = await a_token(client, "admin", expires_in_days=10)
    async with session_of(api, opener["token"]) as session:
        assert (await client.post(f"/tokens/{opener['id']}/rotate", json={"grace_minutes": 60})).status_code == 201
        assert (await create(session, expires_in_days=1)).status_code == 422
        made = await create(session)
    assert end_of(made.json()) < datetime.now(UTC) + timedelta(minutes=61)


async def test_sessions_of_tokens_without_an_end_are_not_limited(api: AdminApi, client: httpx.AsyncClient) -> None:
    endless = await a_token(client, "admin", expires_in_days=None)
    for opener in (TOKEN, endless["token"]):
        async with session_of(api, opener) as session:
            assert (await create(session, expires_in_days=None)).json()["expires_at"] is None


async def test_a_session_of_an_identity_provider_creates_no_token_beyond_its_own_end(a_setting: Any) -> None:
    key = a_key()
    async with key_server(key) as provider:
        api = build_api(
            a_setting(
                oidc_issuer=ISSUER,
                oidc_audience=AUDIENCE,
                oidc_jwks_url=provider.url,
                oidc_role_map={"markets-admins": "admin"},
            )
        )
        async with session_of(api, a_jwt(key, roles=["markets-admins"])) as session:
            assert (await create(session, expires_in_days=1)).status_code == 422
            made = await create(session)
            assert end_of(made.json()) <= end_of((await session.get("/me")).json())
        await api.close()
