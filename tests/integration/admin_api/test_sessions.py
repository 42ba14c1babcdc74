"""Browser sessions: login, the cookie, expiry, logout and the CSRF check."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from http.cookies import Morsel, SimpleCookie
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from admin_api.app import AdminApi, build_api
from store.tables import sessions
from support.api import BASE, TOKEN, a_config, a_token, client_of, stopped_clock

pytestmark = pytest.mark.postgres

SAME_ORIGIN = {"X-CSRF-Protection": "1", "Sec-Fetch-Site": "same-origin"}


async def login(api: AdminApi, token: str = TOKEN, **headers: str) -> tuple[httpx.Response, Morsel[str]]:
    async with client_of(api, token) as client:
        answer = await client.post("/sessions", headers=headers)
    assert answer.status_code == 201, answer.text
    [morsel] = SimpleCookie(answer.headers["Set-Cookie"]).values()
    return answer, morsel


async def cookie_of(api: AdminApi, token: str = TOKEN) -> str:
    _, morsel = await login(api, token)
    return f"{morsel.key}={morsel.value}"


def browser(api: AdminApi, cookie: str, scheme: str = "http") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=api.app, raise_app_exceptions=False)
    return httpx.AsyncClient(
        transport=transport, base_url=f"{scheme}://api{BASE}", headers={"Cookie": cookie.encode("latin-1")}
    )


async def get_me(api: AdminApi, cookie: str) -> httpx.Response:
    async with browser(api, cookie) as client:
        return await client.get("/me")


async def change(api: AdminApi, **values: Any) -> None:
    """Sets these columns of all sessions."""
    async with api.engine.begin() as connection:
        await connection.execute(sa.update(sessions).values(values))


async def rows(api: AdminApi) -> list[sa.Row[Any]]:
    async with api.engine.connect() as connection:
        return list((await connection.execute(sa.select(sessions).order_by(sessions.c.created_at))).all())


@pytest.fixture
async def other_instance(a_setting: Any) -> AsyncIterator[AdminApi]:
    made = build_api(a_setting())
    yield made
    await made.close()


async def test_a_session_has_the_identity_of_its_token(api: AdminApi, client: httpx.AsyncClient) -> None:
    token = await a_token(client, "operator", name="ann")
    answer, morsel = await login(api, token["token"])
    body = answer.json()
    assert (body["name"], body["role"], body["idle_seconds"], body["csrf_header"]) == (
        "ann", "operator", 1800, "X-CSRF-Protection",
    )  # fmt: skip
    assert morsel.value not in answer.text
    me = (await get_me(api, f"{morsel.key}={morsel.value}")).json()
    assert (me["kind"], me["name"], me["role"], me["token_id"]) == ("session", "ann", "operator", token["id"])
    [row] = await rows(api)
    assert morsel.value.encode() not in row.id_hash
    assert morsel.value not in repr(row)


async def test_the_cookie_is_protected_from_scripts_and_other_sites(api: AdminApi, a_setting: Any) -> None:
    _, plain = await login(api)
    assert plain.key == "candlekeep-session"
    assert (plain["httponly"], plain["samesite"], plain["path"], plain["secure"]) == (True, "strict", "/", "")
    assert plain["domain"] == ""
    assert len(plain.value) == 43
    assert 43_100 < int(plain["max-age"]) <= 43_200
    behind = build_api(a_setting(trusted_proxies="127.0.0.1"))
    always = build_api(a_setting(session_cookie_secure=True))
    _, forwarded = await login(behind, **{"X-Forwarded-Proto": "https"})
    _, configured = await login(always)
    for secure in (forwarded, configured):
        assert (secure.key, secure["secure"], secure["httponly"]) == ("__Host-candlekeep", True, True)
    _, untrusted = await login(api, **{"X-Forwarded-Proto": "https"})
    assert untrusted.key == "candlekeep-session"
    async with browser(always, f"candlekeep-session={plain.value}") as client:
        assert (await client.get("/me")).status_code == 401
    for each in (behind, always):
        await each.close()


async def test_a_change_needs_a_page_of_the_same_origin(api: AdminApi) -> None:
    cookie = await cookie_of(api)
    async with browser(api, cookie) as client:
        for headers in (
            {},
            {"X-CSRF-Protection": "1"},
            {**SAME_ORIGIN, "Sec-Fetch-Site": "cross-site"},
            {**SAME_ORIGIN, "Sec-Fetch-Site": "same-site"},
            {"X-CSRF-Protection": "1", "Origin": "http://evil.example"},
        ):
            refused = await client.post("/configs", json=a_config(), headers=headers)
            assert (refused.status_code, refused.json()["type"]) == (403, "urn:candlekeep:problem:not-admitted")
        assert (await client.get("/configs")).json() == []
        by_site = {"Sec-Fetch-Site": "same-origin"}
        assert (await client.post("/configs", json=a_config(), headers=by_site)).status_code == 201
        by_origin = {"X-CSRF-Protection": "1", "Origin": "http://api"}
        assert (await client.put("/configs/1", json={"enabled": False}, headers=by_origin)).status_code == 200


async def test_a_session_ends_after_30_idle_minutes_or_12_hours(api: AdminApi) -> None:
    cookie, now = await cookie_of(api), datetime.now(UTC)
    await change(api, last_seen_at=now - timedelta(minutes=29))
    assert (await get_me(api, cookie)).status_code == 200
    assert (await rows(api))[0].last_seen_at > now - timedelta(minutes=1)
    await change(api, last_seen_at=now - timedelta(minutes=30, seconds=1))
    refused = await get_me(api, cookie)
    assert (refused.status_code, "not used" in refused.json()["detail"]) == (401, True)
    cookie = await cookie_of(api)
    lifetime = (await rows(api))[-1].expires_at - now
    assert timedelta(hours=11, minutes=59) < lifetime < timedelta(hours=12, minutes=1)
    await change(api, expires_at=now)
    assert (await get_me(api, cookie)).status_code == 401


async def test_a_logout_has_effect_at_once_on_every_instance(api: AdminApi, other_instance: AdminApi) -> None:
    cookie = await cookie_of(api)
    assert (await get_me(other_instance, cookie)).status_code == 200
    async with browser(api, cookie) as client:
        gone = await client.delete("/sessions/current", headers=SAME_ORIGIN)
    assert gone.status_code == 204
    assert 'candlekeep-session=""' in gone.headers["Set-Cookie"]
    for instance in (other_instance, api):
        assert (await get_me(instance, cookie)).status_code == 401
    async with client_of(api) as bearer:
        assert (await bearer.delete("/sessions/current")).status_code == 404


async def test_a_session_ends_with_the_token_that_opened_it(api: AdminApi, client: httpx.AsyncClient) -> None:
    token = await a_token(client, "viewer")
    cookie = await cookie_of(api, token["token"])
    await client.post(f"/tokens/{token['id']}/rotate", json={"grace_minutes": 10})
    assert (await get_me(api, cookie)).status_code == 200
    await client.delete(f"/tokens/{token['id']}")
    assert (await get_me(api, cookie)).status_code == 401
    short = await a_token(client, "viewer", expires_in_days=1)
    async with api.engine.begin() as connection:
        soon = datetime.now(UTC) + timedelta(minutes=5)
        await connection.exec_driver_sql("UPDATE api_tokens SET expires_at = $1 WHERE id = $2", (soon, short["id"]))
    answer, _ = await login(api, short["token"])
    assert datetime.fromisoformat(answer.json()["expires_at"]) == soon


async def test_a_changed_bootstrap_token_ends_every_session(api: AdminApi, a_setting: Any) -> None:
    cookie = await cookie_of(api)
    changed = build_api(a_setting(candlekeep_admin_token=SecretStr("another-token-of-the-environment")))
    assert (await get_me(changed, cookie)).status_code == 401
    assert (await get_me(api, cookie)).status_code == 200
    await changed.close()


async def test_each_login_opens_a_new_session_and_ends_the_previous_one(api: AdminApi) -> None:
    first = await cookie_of(api)
    _, morsel = await login(api, Cookie=first)
    second = f"{morsel.key}={morsel.value}"
    assert first != second
    assert [(await get_me(api, cookie)).status_code for cookie in (first, second)] == [401, 200]


async def test_a_session_cannot_open_a_new_session(api: AdminApi) -> None:
    cookie = await cookie_of(api)
    async with browser(api, cookie) as client:
        refused = await client.post("/sessions", headers=SAME_ORIGIN)
    assert (refused.status_code, len(await rows(api))) == (403, 1)


async def test_a_login_deletes_old_sessions(api: AdminApi) -> None:
    for _ in range(3):
        await cookie_of(api)
    await change(api, expires_at=datetime.now(UTC) - timedelta(days=1, minutes=1))
    await cookie_of(api)
    assert len(await rows(api)) == 1


@pytest.mark.parametrize(
    "cookie", ["candlekeep-session=guess", "candlekeep-session=\u00e9", "candlekeep-session=" + "x" * 9000]
)
async def test_an_unknown_cookie_is_401_and_counts_as_a_failed_login(a_setting: Any, cookie: str) -> None:
    api = build_api(a_setting(failed_logins_per_minute=1), monotonic=stopped_clock)
    good = await cookie_of(api)
    assert (await get_me(api, good)).status_code == 200
    answers = [(await get_me(api, cookie)).status_code for _ in range(2)]
    assert answers == [401, 429]
    assert (await get_me(api, good)).status_code == 200
    await api.close()


async def test_login_and_logout_are_audited_without_the_cookie(api: AdminApi, client: httpx.AsyncClient) -> None:
    cookie = await cookie_of(api)
    async with browser(api, cookie) as page:
        await page.delete("/sessions/current", headers=SAME_ORIGIN)
    answer = await client.get("/audit-log", params={"object_type": "session"})
    assert [(entry["action"], entry["actor_kind"]) for entry in answer.json()] == [
        ("session.close", "session"),
        ("session.open", "bootstrap"),
    ]
    assert len({entry["object_id"] for entry in answer.json()}) == 1
    assert cookie.split("=")[1] not in answer.text
