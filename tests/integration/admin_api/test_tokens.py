"""API tokens: creation, authentication, rotation, revocation and the limit of failed logins."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

import httpx
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from admin_api.app import AdminApi, build_api
from admin_api.auth.token_format import mint, parse
from store.tables import api_tokens
from support.api import TOKEN, a_config, a_token, client_of, stopped_clock

pytestmark = pytest.mark.postgres

NOWHERE = SecretStr("postgresql://user@127.0.0.1:1/nothing")


@pytest.fixture
async def other_instance(a_setting: Any) -> AsyncIterator[AdminApi]:
    made = build_api(a_setting())
    yield made
    await made.close()


async def who(api: AdminApi, token: str) -> httpx.Response:
    async with client_of(api, token) as caller:
        return await caller.get("/me")


async def row_of(api: AdminApi, token_id: int) -> sa.Row[Any]:
    async with api.engine.connect() as connection:
        return (await connection.execute(sa.select(api_tokens).where(api_tokens.c.id == token_id))).one()


async def change(api: AdminApi, token_id: int, **values: Any) -> None:
    async with api.engine.begin() as connection:
        await connection.execute(sa.update(api_tokens).where(api_tokens.c.id == token_id).values(values))


async def test_a_token_is_shown_once_and_only_its_hash_is_stored(api: AdminApi, client: httpx.AsyncClient) -> None:
    answer = await client.post("/tokens", json={"name": "grafana", "role": "viewer"})
    token = answer.json()
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    assert (token["name"], token["role"], token["status"]) == ("grafana", "viewer", "active")
    assert token["token"].startswith(token["prefix"])
    lifetime = datetime.fromisoformat(token["expires_at"]) - datetime.fromisoformat(token["created_at"])
    assert lifetime == timedelta(days=90)
    secret = token["token"].split("_", 2)[2]
    row = await row_of(api, token["id"])
    assert secret[:43] not in repr(row)
    parsed = parse(token["token"])
    assert parsed is not None
    assert row.secret_hash == parsed.secret_hash
    listed = await client.get("/tokens")
    assert secret[:43] not in listed.text
    assert listed.json() == [{name: value for name, value in token.items() if name != "token"}]
    audited = await client.get("/audit-log", params={"action": "token.create"})
    assert secret[:43] not in audited.text


async def test_a_token_gives_its_name_and_role(api: AdminApi, client: httpx.AsyncClient) -> None:
    token = await a_token(client, "operator", name="ci", expires_in_days=None)
    me = (await who(api, token["token"])).json()
    assert me == {"kind": "token", "name": "ci", "role": "operator", "token_id": token["id"], "expires_at": None}


async def test_the_bootstrap_token_has_the_role_admin_and_needs_no_database(a_setting: Any) -> None:
    without = build_api(a_setting(database_url=NOWHERE))
    me = await who(without, TOKEN)
    assert (me.status_code, me.json()["kind"], me.json()["role"]) == (200, "bootstrap", "admin")
    assert (await who(without, mint().text)).status_code == 503
    await without.close()


@pytest.mark.parametrize(
    "change", [lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"), lambda text: text + "0"]
)
async def test_a_malformed_token_is_refused_without_a_query(a_setting: Any, change: Any) -> None:
    without = build_api(a_setting(database_url=NOWHERE))
    answer = await who(without, change(mint().text))
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:candlekeep:problem:unauthorized")
    await without.close()


async def test_a_token_with_a_known_id_and_a_wrong_secret_is_refused(api: AdminApi, client: httpx.AsyncClient) -> None:
    token = (await a_token(client, "admin"))["token"]
    stranger = mint()
    forged = stranger.text.replace(stranger.public_id, token.split("_")[1])
    assert parse(forged) is None
    body = forged.rsplit("_", 1)[0]
    refused = await who(api, f"{body}_{crc32(body.encode()):08x}")
    assert refused.status_code == 401
    assert refused.json()["detail"] == (await who(api, mint().text)).json()["detail"]


async def test_a_revocation_has_effect_at_once_on_every_instance(
    api: AdminApi, other_instance: AdminApi, client: httpx.AsyncClient
) -> None:
    token = await a_token(client, "viewer")
    for instance in (api, other_instance):
        assert (await who(instance, token["token"])).status_code == 200
    assert (await client.delete(f"/tokens/{token['id']}")).status_code == 204
    for instance in (other_instance, api):
        refused = await who(instance, token["token"])
        assert (refused.status_code, "revoked" in refused.json()["detail"]) == (401, True)
    assert (await client.delete(f"/tokens/{token['id']}")).status_code == 204
    revocations = (await client.get("/audit-log", params={"action": "token.revoke"})).json()
    assert len(revocations) == 1
    assert (revocations[0]["before"]["status"], revocations[0]["after"]["status"]) == ("active", "revoked")
    assert (await client.delete("/tokens/4711")).status_code == 404


async def test_an_expired_token_is_refused_with_the_reason(api: AdminApi, client: httpx.AsyncClient) -> None:
    token = await a_token(client, "viewer")
    await change(api, token["id"], expires_at=datetime.now(UTC) + timedelta(seconds=30))
    assert (await who(api, token["token"])).status_code == 200
    await change(api, token["id"], expires_at=datetime.now(UTC) - timedelta(seconds=1))
    refused = await who(api, token["token"])
    assert (refused.status_code, "expired" in refused.json()["detail"]) == (401, True)
    statuses = {active: (await client.get("/tokens", params={"active": active})).json() for active in ("true", "false")}
    assert (statuses["true"], [each["status"] for each in statuses["false"]]) == ([], ["expired"])


async def test_the_list_of_tokens_has_pages(client: httpx.AsyncClient) -> None:
    made = [(await a_token(client, "viewer", name=f"reader{number}"))["id"] for number in range(5)]
    await client.delete(f"/tokens/{made[2]}")
    for sort, expected in (("-id", made[::-1]), ("id", made)):
        answer = await client.get("/tokens", params={"limit": 2, "sort": sort, "active": True})
        found = [token["id"] for token in answer.json()]
        assert (answer.headers["X-Total-Count"], answer.headers["X-Total-Count-Exact"]) == ("4", "true")
        while "next" in answer.links:
            answer = await client.get(f"http://api{answer.links['next']['url']}")
            found += [token["id"] for token in answer.json()]
        assert found == [number for number in expected if number != made[2]]
    assert [token["id"] for token in (await client.get("/tokens", params={"skip": 4})).json()] == made[:1]
    for refused in ({"skip": 100_001}, {"cursor": "x"}, {"sort": "name"}):
        assert (await client.get("/tokens", params=refused)).status_code == 422


async def test_a_rotated_token_ends_at_once_or_after_the_grace_time(api: AdminApi, client: httpx.AsyncClient) -> None:
    first = await a_token(client, "operator", name="ci", expires_in_days=10)
    second = (await client.post(f"/tokens/{first['id']}/rotate")).json()
    assert (await who(api, first["token"])).status_code == 401
    assert (second["name"], second["role"]) == ("ci", "operator")
    lifetime = datetime.fromisoformat(second["expires_at"]) - datetime.fromisoformat(second["created_at"])
    assert lifetime == timedelta(days=10)
    third = (await client.post(f"/tokens/{second['id']}/rotate", json={"grace_minutes": 60})).json()
    for token in (second, third):
        assert (await who(api, token["token"])).status_code == 200
    await change(api, second["id"], revoked_at=datetime.now(UTC) - timedelta(seconds=1))
    assert (await who(api, second["token"])).status_code == 401
    assert (await who(api, third["token"])).json()["token_id"] == third["id"]


async def test_a_token_that_is_replaced_or_revoked_cannot_be_rotated(client: httpx.AsyncClient) -> None:
    token = await a_token(client, "viewer")
    answers = await asyncio.gather(
        *(client.post(f"/tokens/{token['id']}/rotate", json={"grace_minutes": 5}) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert (await client.post("/tokens/4711/rotate")).status_code == 404
    # A revocation ends the grace time early.
    assert (await client.delete(f"/tokens/{token['id']}")).status_code == 204


async def test_the_last_use_is_stored_at_most_once_a_minute(api: AdminApi, client: httpx.AsyncClient) -> None:
    token = await a_token(client, "viewer")
    assert (await row_of(api, token["id"])).last_used_at is None
    await who(api, token["token"])
    first = (await row_of(api, token["id"])).last_used_at
    assert first is not None
    await who(api, token["token"])
    assert (await row_of(api, token["id"])).last_used_at == first
    await change(api, token["id"], last_used_at=first - timedelta(seconds=61))
    await who(api, token["token"])
    assert (await row_of(api, token["id"])).last_used_at > first


async def test_a_locked_token_row_does_not_delay_a_request(api: AdminApi, client: httpx.AsyncClient) -> None:
    token = await a_token(client, "viewer")
    async with api.engine.begin() as holder:
        await holder.execute(sa.select(api_tokens).where(api_tokens.c.id == token["id"]).with_for_update())
        began = time.monotonic()
        assert (await who(api, token["token"])).status_code == 200
        assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"role": "viewer"}, "#/name"),
        ({"name": "x"}, "#/role"),
        ({"name": "", "role": "viewer"}, "#/name"),
        ({"name": "a\nb", "role": "viewer"}, "#/name"),
        ({"name": "x" * 65, "role": "viewer"}, "#/name"),
        ({"name": "x", "role": "root"}, "#/role"),
        ({"name": "x", "role": "viewer", "expires_in_days": 0}, "#/expires_in_days"),
        ({"name": "x", "role": "viewer", "expires_in_days": 3651}, "#/expires_in_days"),
        ({"name": "x", "role": "viewer", "expires_in_days": "90"}, "#/expires_in_days"),
        ({"name": "x", "role": "viewer", "expires": 1}, "#/expires"),
    ],
)
async def test_an_invalid_token_request_is_422(client: httpx.AsyncClient, body: dict[str, Any], pointer: str) -> None:
    answer = await client.post("/tokens", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_failed_logins_are_limited_per_address_and_valid_tokens_still_work(a_setting: Any) -> None:
    api = build_api(a_setting(failed_logins_per_minute=3), monotonic=stopped_clock)
    async with client_of(api) as admin:
        token = (await a_token(admin, "viewer"))["token"]
        fresh = (await a_token(admin, "viewer"))["token"]
        assert (await who(api, token)).status_code == 200
        answers = [await who(api, mint().text) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 20
        for valid in (TOKEN, token, fresh):
            assert (await who(api, valid)).status_code == 200
        metrics = (await admin.get("http://api/metrics")).text
    assert 'candlekeep_api_authentications_total{kind="unknown",outcome="throttled"} 2.0' in metrics
    assert 'candlekeep_api_authentications_total{kind="unknown",outcome="unknown"} 3.0' in metrics
    await api.close()


async def test_only_a_trusted_proxy_sets_the_client_address_of_a_limit(a_setting: Any) -> None:
    for trusted, second in (("", 429), ("127.0.0.0/8", 401)):
        api = build_api(a_setting(failed_logins_per_minute=1, trusted_proxies=trusted), monotonic=stopped_clock)
        async with client_of(api, "guess") as caller:
            answers = [await caller.get("/me", headers={"X-Forwarded-For": f"203.0.113.{number}"}) for number in (1, 2)]
        assert [answer.status_code for answer in answers] == [401, second]
        await api.close()


async def test_an_expired_token_does_not_count_as_a_failed_login(a_setting: Any) -> None:
    api = build_api(a_setting(failed_logins_per_minute=1), monotonic=stopped_clock)
    async with client_of(api) as admin:
        old = await a_token(admin, "viewer")
        await admin.delete(f"/tokens/{old['id']}")
        assert {(await who(api, old["token"])).status_code for _ in range(5)} == {401}
        new = await a_token(admin, "viewer")
        assert (await who(api, new["token"])).status_code == 200
    await api.close()


async def test_the_audit_log_names_the_token_of_a_change(api: AdminApi, client: httpx.AsyncClient) -> None:
    token = await a_token(client, "admin", name="terraform")
    async with client_of(api, token["token"]) as caller:
        answer = await caller.post("/configs", json=a_config(), headers={"X-Request-ID": "apply-17"})
    [entry] = (await client.get("/audit-log", params={"request_id": "apply-17"})).json()
    assert (entry["actor"], entry["actor_kind"], entry["token_id"]) == ("terraform", "token", token["id"])
    assert (entry["action"], entry["object_id"]) == ("config.create", str(answer.json()["id"]))
