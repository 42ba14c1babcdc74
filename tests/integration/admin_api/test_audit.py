"""The audit log: entries of changes and refused requests, append-only, without secrets."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import sqlalchemy as sa
import structlog
from fastapi.routing import APIRoute
from pydantic import SecretStr

from admin_api.app import AdminApi, build_api
from admin_api.auth.token_format import mint
from store.tables import audit_log
from support.api import BASE, TOKEN, a_config, a_token, client_of, created

pytestmark = pytest.mark.postgres


async def entries(client: httpx.AsyncClient, **filters: Any) -> list[dict[str, Any]]:
    answer = await client.get("/audit-log", params=filters)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET actor = 'other'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "UPDATE audit_log SET actor = 'other' WHERE false",
    ],
)
async def test_rows_of_the_audit_log_cannot_be_changed_or_deleted(
    client: httpx.AsyncClient, database_url: str, statement: str
) -> None:
    await created(client)
    connection = await asyncpg.connect(database_url)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await connection.execute(statement)
    finally:
        await connection.close()
    assert len(await entries(client)) == 1


async def test_a_request_that_the_role_does_not_allow_is_recorded(api: AdminApi, client: httpx.AsyncClient) -> None:
    config = await created(client)
    token = await a_token(client, "viewer", name="reader")
    async with client_of(api, token["token"]) as reader:
        answer = await reader.delete(f"/configs/{config['id']}", headers={"X-Request-ID": "try-1"})
        assert answer.status_code == 403
        assert (await reader.get("/audit-log", headers={"X-Request-ID": "try-2"})).status_code == 403
    [first] = await entries(client, request_id="try-1")
    assert (first["actor"], first["token_id"], first["outcome"]) == ("reader", token["id"], "refused")
    assert (first["action"], first["object_type"], first["object_id"]) == ("config.delete", "config", str(config["id"]))
    assert first["after"] == {
        "method": "DELETE",
        "path": f"/api/v1/admin/data-collection/configs/{config['id']}",
        "status": 403,
        "reason": "role",
    }
    [second] = await entries(client, request_id="try-2")
    assert second["action"] == "audit_log.list"
    assert (await client.get(f"/configs/{config['id']}")).status_code == 200


async def test_a_refused_credential_is_recorded_with_its_owner_if_known(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    old = await a_token(client, "admin", name="old-ci")
    await client.delete(f"/tokens/{old['id']}")
    stranger = mint().text
    for wrong in (old["token"], stranger, "not-a-token-at-all"):
        async with client_of(api, wrong) as caller:
            assert (await caller.post("/configs", json=a_config())).status_code == 401
    async with client_of(api, None) as anonymous:
        assert (await anonymous.post("/configs", json=a_config())).status_code == 401
    refused = await entries(client, outcome="refused")
    assert [(each["actor"], each["actor_kind"], each["after"]["reason"]) for each in refused] == [
        ("anonymous", "anonymous", "malformed"),
        ("anonymous", "anonymous", "unknown"),
        ("old-ci", "token", "revoked"),
    ]
    assert refused[2]["token_id"] == old["id"]
    assert [each["address"] for each in refused] == ["127.0.0.1"] * 3
    everything = (await client.get("/audit-log")).text
    for secret in (old["token"][16:59], stranger[16:59], "not-a-token-at-all", TOKEN):
        assert secret not in everything


async def test_a_failed_precondition_is_recorded(client: httpx.AsyncClient) -> None:
    config = await created(client)
    stale = {"If-Match": '"999"', "X-Request-ID": "stale"}
    assert (await client.put(f"/configs/{config['id']}", json={"enabled": False}, headers=stale)).status_code == 412
    [entry] = await entries(client, request_id="stale")
    assert (entry["action"], entry["outcome"], entry["after"]["reason"]) == ("config.update", "refused", "precondition")


async def test_invalid_requests_are_not_recorded(client: httpx.AsyncClient) -> None:
    await client.post("/configs", json={})
    await client.get("/configs/4711")
    await client.get("/nothing")
    assert await entries(client) == []


async def test_many_refused_requests_do_not_fill_the_audit_log(a_setting: Any) -> None:
    api = build_api(a_setting(failed_logins_per_minute=100_000))
    async with client_of(api, "wrong") as caller:
        assert {(await caller.get("/me")).status_code for _ in range(200)} == {401}
    async with client_of(api) as admin:
        total = (await admin.get("/audit-log", params={"limit": 1})).headers["X-Total-Count"]
        metrics = (await admin.get("http://api/metrics")).text
    assert 60 <= int(total) < 70
    assert f'refusals_recorded_total{{outcome="suppressed"}} {200 - int(total)}.0' in metrics
    await api.close()


async def test_an_unusual_path_is_recorded_in_a_safe_form(api: AdminApi, client: httpx.AsyncClient) -> None:
    async with client_of(api, "wrong", base="") as caller:
        for path in ("/%00", "/%ff%fe", "/\u2028\u202e<script>", "/" + "x" * 5000):
            assert (await caller.get(path)).status_code == 401
    recorded = await entries(client)
    assert len(recorded) == 4
    assert all(entry["after"]["path"].isascii() and len(entry["after"]["path"]) <= 200 for entry in recorded)


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_a_credential_in_the_path_is_neither_recorded_nor_logged(
    api: AdminApi, client: httpx.AsyncClient, role: str
) -> None:
    def broken(rest: str) -> None:
        raise RuntimeError("a defect")

    api.app.router.routes.insert(0, APIRoute(f"{BASE}/broken/{{rest:path}}", broken))
    token = (await a_token(client, role))["token"]
    other = (await a_token(client, "admin", name="other"))["token"]
    cookie = (await client.post("/sessions")).cookies["candlekeep-session"]
    client.cookies.clear()
    wrong = "no-token-" + "w" * 40
    with structlog.testing.capture_logs() as lines:
        async with client_of(api, token) as caller:
            for secret in (token, other):
                assert (await caller.delete(f"/tokens/{secret}")).status_code == 403
                assert (await caller.get(f"/broken/{secret}/x")).status_code == 500
        async with client_of(api, None) as browser:
            headers = {"Cookie": f"candlekeep-session={cookie}"}
            assert (await browser.delete(f"/sessions/{cookie}", headers=headers)).status_code == 403
        async with client_of(api, wrong) as caller:
            assert (await caller.get(f"/configs/{wrong}")).status_code == 401
    recorded = await entries(client, outcome="refused")
    assert len(recorded) == 4
    assert [entry["after"]["path"].rpartition("/")[2] for entry in recorded][2:] == [
        f"ck_{text[3:15]}_..." for text in (other, token)
    ]
    for secret in (token[16:], other[16:], cookie, wrong):
        assert secret[:12] not in str(recorded)
        assert secret[:12] not in str([line for line in lines if line.get("action") in {"refused", "request_failed"}])
    assert sum(line.get("action") == "request_failed" for line in lines) == 2


async def test_a_refusal_does_not_need_the_database(a_setting: Any) -> None:
    api = build_api(a_setting(database_url=SecretStr("postgresql://user@127.0.0.1:1/nothing")))
    async with client_of(api, "wrong") as caller:
        assert (await caller.get("/me")).status_code == 401
        metrics = (await caller.get("http://api/metrics")).text
    assert 'refusals_recorded_total{outcome="lost"} 1.0' in metrics
    await api.close()


async def test_the_audit_log_has_filters(api: AdminApi, client: httpx.AsyncClient) -> None:
    config = await created(client)
    await client.put(f"/configs/{config['id']}", json={"interval_minutes": 5}, headers={"X-Request-ID": "mine"})
    await client.delete(f"/configs/{config['id']}")
    everything = await entries(client)
    assert [entry["action"] for entry in everything] == ["config.delete", "config.update", "config.create"]
    update = everything[1]
    assert (update["before"]["interval_minutes"], update["after"]["interval_minutes"]) == (10, 5)
    for filters, ids in (
        ({"actor": "bootstrap"}, 3),
        ({"actor": "somebody"}, 0),
        ({"action": "config.update"}, 1),
        ({"object_type": "config", "object_id": config["id"]}, 3),
        ({"object_type": "token"}, 0),
        ({"outcome": "done"}, 3),
        ({"outcome": "refused"}, 0),
        ({"request_id": "mine"}, 1),
        ({"start_date": everything[1]["at"]}, 2),
        ({"end_date": everything[1]["at"]}, 1),
        ({"skip": 1, "limit": 1}, 1),
    ):
        assert len(await entries(client, **filters)) == ids, filters
    following = await client.get("/audit-log", params={"limit": 2})
    assert len((await client.get(f"http://api{following.links['next']['url']}")).json()) == 1
    for bad in ({"outcome": "odd"}, {"limit": 1001}, {"actor": "\x00"}, {"nonsense": 1}, {"start_date": "soon"}):
        assert (await client.get("/audit-log", params=bad)).status_code == 422, bad


async def test_a_change_that_is_rolled_back_has_no_entry(api: AdminApi, client: httpx.AsyncClient) -> None:
    await created(client)
    taken = await client.post("/configs", json=a_config())
    assert taken.status_code == 409
    assert len(await entries(client)) == 1


async def test_entries_have_utc_times_and_are_listed_latest_first(api: AdminApi, client: httpx.AsyncClient) -> None:
    await created(client)
    await a_token(client, "viewer")
    async with api.engine.connect() as connection:
        written = (await connection.execute(sa.select(audit_log.c.id).order_by(audit_log.c.id))).scalars().all()
    shown = await entries(client)
    assert [entry["id"] for entry in shown] == list(reversed(written))
    assert abs(datetime.fromisoformat(shown[0]["at"]) - datetime.now(UTC)) < timedelta(minutes=1)
