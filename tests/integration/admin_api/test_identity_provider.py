"""Requests with JWTs of an identity provider: roles, sessions, limits and the audit log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from admin_api.app import AdminApi, build_api
from support.api import TOKEN, a_config, client_of, created, stopped_clock
from support.identity_provider import AUDIENCE, ISSUER, KeyServer, a_jwt, a_key, key_server

pytestmark = pytest.mark.postgres

KEY = a_key()


@pytest.fixture
async def provider() -> AsyncIterator[KeyServer]:
    async with key_server(KEY) as made:
        yield made


@pytest.fixture
async def api(a_setting: Any, provider: KeyServer) -> AsyncIterator[AdminApi]:
    made = build_api(
        a_setting(
            oidc_issuer=ISSUER,
            oidc_audience=AUDIENCE,
            oidc_jwks_url=provider.url,
            oidc_role_map={"markets-operators": "operator", "markets-admins": "admin"},
            oidc_name_claim="preferred_username",
            triggers_per_minute=2,
        ),
        monotonic=stopped_clock,
    )
    yield made
    await made.close()


def a_person_named_ann(subject: str) -> str:
    """A token of one of several callers with the same name."""
    return a_jwt(KEY, sub=subject, preferred_username="Ann", roles=["markets-admins"])


@asynccontextmanager
async def bearers(api: AdminApi, subject: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(api, a_person_named_ann(subject)) as client:
        yield client


@asynccontextmanager
async def browsers(api: AdminApi, subject: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the session cookie that the token opened."""
    async with client_of(api, token=None) as client:
        login = {"Authorization": f"Bearer {a_person_named_ann(subject)}"}
        assert (await client.post("/sessions", headers=login)).status_code == 201
        client.headers.update({"X-CSRF-Protection": "1", "Sec-Fetch-Site": "same-origin"})
        yield client


callers = pytest.mark.parametrize("caller", [bearers, browsers])


@callers
async def test_callers_with_the_same_name_do_not_share_idempotency_keys(api: AdminApi, caller: Any) -> None:
    key = {"Idempotency-Key": "first-config"}
    async with caller(api, "one") as one, caller(api, "two") as two:
        first = await one.post("/configs", json=a_config(), headers=key)
        other = await two.post("/configs", json=a_config(symbol="ETH/USDT"), headers=key)
        again = await one.post("/configs", json=a_config(), headers=key)
    assert (first.status_code, other.status_code) == (201, 201)
    assert "Idempotent-Replayed" not in other.headers
    assert (again.headers["Idempotent-Replayed"], again.json()) == ("true", first.json())


@callers
async def test_callers_with_the_same_name_do_not_share_rate_limits(api: AdminApi, caller: Any) -> None:
    async with caller(api, "one") as one, caller(api, "two") as two:
        path = f"/configs/{(await created(one, enabled=False))['id']}/trigger"
        assert [(await one.post(path)).status_code for _ in range(3)] == [202, 202, 429]
        assert (await two.post(path)).status_code == 202


@callers
async def test_the_audit_log_distinguishes_callers_with_the_same_name(api: AdminApi, caller: Any) -> None:
    async with caller(api, "one") as one, caller(api, "two") as two:
        await created(one)
        await created(two, symbol="ETH/USDT")
    async with client_of(api) as admin:
        await created(admin, symbol="SOL/USDT")
        entries = (await admin.get("/audit-log", params={"action": "config.create", "sort": "at"})).json()
    assert [(entry["actor"], entry["subject"]) for entry in entries] == [
        ("Ann", f"{ISSUER}#one"),
        ("Ann", f"{ISSUER}#two"),
        ("bootstrap", None),
    ]


async def who(api: AdminApi, token: str) -> httpx.Response:
    async with client_of(api, token) as caller:
        return await caller.get("/me")


async def test_a_jwt_is_accepted_with_the_role_of_its_claim(api: AdminApi, provider: KeyServer) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    token = a_jwt(KEY, now=now, sub="ann")
    me = (await who(api, token)).json()
    assert (me["kind"], me["name"], me["role"], me["token_id"]) == ("oidc", "ann", "operator", None)
    assert datetime.fromisoformat(me["expires_at"]) == now + timedelta(minutes=5)
    async with client_of(api, token) as operator:
        assert (await operator.post("/configs", json=a_config())).status_code == 403
        assert (await operator.get("/configs")).status_code == 200
    assert provider.requests == 1


async def test_refused_jwts_are_in_the_audit_log_with_the_reason(api: AdminApi) -> None:
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    cases = [
        (a_jwt(KEY, now=hour_ago), 401, "expired"),
        (a_jwt(KEY, aud="another"), 401, "unknown"),
        (a_jwt(a_key()), 401, "unknown"),
        (a_jwt(KEY, header={"kid": "other"}), 401, "unknown"),
        (a_jwt(KEY, header={"typ": "logout+jwt"}), 401, "malformed"),
        (a_jwt(KEY, roles=["strangers"]), 403, "no_role"),
    ]
    for token, status, _ in cases:
        assert (await who(api, token)).status_code == status
    async with client_of(api) as admin:
        refused = (await admin.get("/audit-log", params={"outcome": "refused"})).json()
    assert [entry["after"]["reason"] for entry in reversed(refused)] == [reason for _, _, reason in cases]
    assert (refused[0]["actor"], refused[0]["actor_kind"]) == ("ann", "oidc")
    assert refused[0]["subject"] == f"{ISSUER}#ann"


async def test_an_unavailable_provider_is_503_only_for_its_own_tokens(api: AdminApi, provider: KeyServer) -> None:
    provider.status = 500
    refused = await who(api, a_jwt(KEY))
    assert (refused.status_code, refused.json()["type"]) == (
        503,
        "urn:candlekeep:problem:identity-provider-unavailable",
    )
    assert int(refused.headers["Retry-After"]) > 0
    assert (await who(api, TOKEN)).status_code == 200
    async with client_of(api, base="") as anyone:
        assert 'candlekeep_api_jwks_fetches_total{outcome="failed"} 1.0' in (await anyone.get("/metrics")).text


async def test_a_session_ends_at_the_latest_with_the_jwt_that_opened_it(api: AdminApi) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    async with client_of(api, a_jwt(KEY, now=now)) as browser:
        session = (await browser.post("/sessions")).json()
    assert datetime.fromisoformat(session["expires_at"]) == now + timedelta(minutes=5)


async def test_without_a_provider_a_jwt_is_refused(a_setting: Any) -> None:
    plain = build_api(a_setting())
    assert (await who(plain, a_jwt(KEY))).status_code == 401
    await plain.close()
