"""JWTs of an identity provider, from its keys to the audit log."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from admin_api.app import AdminApi, build
from support.api import TOKEN, a_config, client_of
from support.identity_provider import AUDIENCE, ISSUER, KeyServer, a_jwt, a_key, key_server

pytestmark = pytest.mark.postgres

KEY = a_key()


@pytest.fixture
async def provider() -> AsyncIterator[KeyServer]:
    async with key_server(KEY) as made:
        yield made


@pytest.fixture
async def api(a_setting: Any, provider: KeyServer) -> AsyncIterator[AdminApi]:
    made = build(
        a_setting(
            oidc_issuer=ISSUER,
            oidc_audience=AUDIENCE,
            oidc_jwks_url=provider.url,
            oidc_role_map={"markets-operators": "operator", "markets-admins": "admin"},
        )
    )
    yield made
    await made.engine.dispose()


async def who(api: AdminApi, token: str) -> httpx.Response:
    async with client_of(api, token) as caller:
        return await caller.get("/me")


async def test_a_jwt_is_let_in_with_the_role_that_its_claim_means(api: AdminApi, provider: KeyServer) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    token = a_jwt(KEY, now=now, sub="ann")
    me = (await who(api, token)).json()
    assert (me["kind"], me["name"], me["role"], me["token_id"]) == ("oidc", "ann", "operator", None)
    assert datetime.fromisoformat(me["expires_at"]) == now + timedelta(minutes=5)
    async with client_of(api, token) as operator:
        assert (await operator.post("/configs", json=a_config())).status_code == 403
        assert (await operator.get("/configs")).status_code == 200
    assert provider.asked == 1


async def test_refused_jwts_are_in_the_audit_log_by_reason(api: AdminApi) -> None:
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


async def test_a_provider_that_is_away_is_503_for_its_tokens_only(api: AdminApi, provider: KeyServer) -> None:
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


async def test_a_session_does_not_outlive_the_jwt_that_opened_it(api: AdminApi) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    async with client_of(api, a_jwt(KEY, now=now)) as browser:
        session = (await browser.post("/sessions")).json()
    assert datetime.fromisoformat(session["expires_at"]) == now + timedelta(minutes=5)


async def test_without_a_provider_a_jwt_is_just_a_wrong_token(a_setting: Any) -> None:
    plain = build(a_setting())
    assert (await who(plain, a_jwt(KEY))).status_code == 401
    await plain.engine.dispose()
