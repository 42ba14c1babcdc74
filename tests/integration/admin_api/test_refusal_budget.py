"""Refusals: each is a log line, and many of one kind hide no other one in the audit log."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import structlog

from admin_api.app import AdminApi, build_api, build_worker
from admin_api.auth.token_format import mint
from store.tables import audit_log
from support.api import a_token, client_of, created

pytestmark = pytest.mark.postgres

MANY = 70


async def entries(client: httpx.AsyncClient, **filters: Any) -> list[dict[str, Any]]:
    answer = await client.get("/audit-log", params={"limit": 1000, "outcome": "refused", **filters})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def refuse(caller: httpx.AsyncClient, count: int, path: str = "/audit-log") -> None:
    answers = await asyncio.gather(*(caller.get(path) for _ in range(count)))
    assert {answer.status_code for answer in answers} <= {401, 403, 429}


async def mint_an_admin_token(caller: httpx.AsyncClient) -> None:
    attempt = await caller.post("/tokens", json={"name": "mine", "role": "admin"}, headers={"X-Request-ID": "mint"})
    assert attempt.status_code == 403


async def test_many_harmless_refusals_do_not_hide_an_attempt_to_mint_an_admin_token(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    viewer = await a_token(client, "viewer", name="reader")
    with structlog.testing.capture_logs() as lines:
        async with client_of(api, viewer["token"]) as caller:
            await refuse(caller, MANY)
            await mint_an_admin_token(caller)
    attempted = [line["attempted"] for line in lines if line["action"] == "refused"]
    assert attempted == ["audit_log.list"] * MANY + ["token.create"]
    [entry] = await entries(client, request_id="mint")
    assert (entry["action"], entry["actor"], entry["token_id"]) == ("token.create", "reader", viewer["id"])
    assert len(await entries(client)) < MANY


async def test_refusals_of_others_at_the_same_address_do_not_hide_those_of_a_caller(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    noisy = await a_token(client, "viewer", name="noisy")
    quiet = await a_token(client, "viewer", name="quiet")
    async with client_of(api, noisy["token"]) as caller, client_of(api, "wrong") as stranger:
        for method in ("/audit-log", "/tokens"):
            await refuse(caller, MANY, method)
        await refuse(stranger, MANY)
    async with client_of(api, quiet["token"]) as caller:
        await mint_an_admin_token(caller)
    [entry] = await entries(client, actor="quiet")
    assert entry["action"] == "token.create"


async def test_many_malformed_credentials_do_not_hide_an_unknown_one(a_setting: Any, client: httpx.AsyncClient) -> None:
    api = build_api(a_setting(failed_logins_per_minute=1000))
    async with client_of(api, "wrong") as caller:
        await refuse(caller, 2 * MANY)
    async with client_of(api, mint().text) as caller:
        await refuse(caller, 1)
    assert (await entries(client))[0]["after"]["reason"] == "unknown"
    await api.close()


async def test_attempts_of_another_page_are_named_and_do_not_hide_each_other(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    """They are refused before the router, so their route is found for the audit log."""
    config = await created(client)
    async with client_of(api, None) as browser:
        login = await browser.post("/sessions", headers={"Authorization": client.headers["Authorization"]})
        assert login.status_code == 201
        for _ in range(MANY):
            assert (await browser.post(f"/configs/{config['id']}/disable")).status_code == 403
        await mint_an_admin_token(browser)
    [entry] = await entries(client, request_id="mint")
    assert (entry["action"], entry["after"]["reason"]) == ("token.create", "cross_site")
    disables = await entries(client, action="config.disable")
    assert 0 < len(disables) < MANY
    assert disables[0]["object_id"] == str(config["id"])


async def test_one_entry_per_caller_summarises_the_refusals_that_were_left_out(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    viewer = await a_token(client, "viewer", name="reader")
    started = datetime.now(UTC)
    async with client_of(api, viewer["token"]) as caller:
        await refuse(caller, MANY)
        await refuse(caller, MANY, "/tokens")
    own = [await entries(client, action=action) for action in ("audit_log.list", "token.list")]
    await api.refusals.summarise(datetime.now(UTC))
    await api.refusals.summarise(datetime.now(UTC))
    [summary] = await entries(client, action="refusal.summarise")
    assert (summary["actor"], summary["token_id"], summary["object_type"]) == ("reader", viewer["id"], "refusal")
    left_out = summary["after"]
    assert left_out["left_out"] == 2 * MANY - sum(map(len, own))
    assert {(each["action"], each["status"], each["reason"], each["count"]) for each in left_out["kinds"]} == {
        ("audit_log.list", 403, "role", MANY - len(own[0])),
        ("token.list", 403, "role", MANY - len(own[1])),
    }
    since, until = (datetime.fromisoformat(left_out[name]) for name in ("since", "until"))
    assert started <= since <= until <= datetime.now(UTC)


async def test_a_summary_that_could_not_be_written_is_written_later(api: AdminApi, client: httpx.AsyncClient) -> None:
    viewer = await a_token(client, "viewer", name="reader")
    async with client_of(api, viewer["token"]) as caller:
        await refuse(caller, MANY)
    async with api.engine.begin() as blocker:
        await blocker.exec_driver_sql(f"LOCK TABLE {audit_log.name} IN EXCLUSIVE MODE")
        await api.refusals.summarise(datetime.now(UTC))
    assert await entries(client, action="refusal.summarise") == []
    await api.refusals.summarise(datetime.now(UTC))
    [summary] = await entries(client, action="refusal.summarise")
    assert summary["after"]["left_out"] + len(await entries(client, action="audit_log.list")) == MANY


async def test_the_worker_summarises_once_more_when_it_stops(api: AdminApi, client: httpx.AsyncClient) -> None:
    summaries = api.refusals.background()
    assert summaries.name in {background.name for background in build_worker(api.settings).backgrounds}
    running = asyncio.ensure_future(summaries.run())
    viewer = await a_token(client, "viewer", name="reader")
    async with client_of(api, viewer["token"]) as caller:
        await refuse(caller, MANY)
    await summaries.stop()
    await asyncio.wait_for(running, 10)
    assert [entry["actor"] for entry in await entries(client, action="refusal.summarise")] == ["reader"]
