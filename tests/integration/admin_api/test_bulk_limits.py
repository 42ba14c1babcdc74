"""The rate limit counts the runs that a request starts, and a bulk request as one request per config."""

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi, build_api
from store.tables import configs, manual_runs
from support.api import a_config, client_of, created, stopped_clock

pytestmark = pytest.mark.postgres


@pytest.fixture
async def api(a_setting: Callable[..., Any]) -> AsyncIterator[AdminApi]:
    """The rate limits have a stopped clock, so no token is refilled."""
    made = build_api(a_setting(requests_per_minute=30, triggers_per_minute=5), monotonic=stopped_clock)
    yield made
    await made.close()


async def rows(api: AdminApi, table: sa.Table, *conditions: Any) -> int:
    async with api.engine.connect() as connection:
        return await connection.scalar(sa.select(sa.func.count()).select_from(table).where(*conditions)) or 0


async def accepted_runs(api: AdminApi) -> int:
    return await rows(api, manual_runs)


def some(count: int, **overrides: Any) -> dict[str, Any]:
    return {"configs": [a_config(symbol=f"C{n}/USDT", **overrides) for n in range(count)]}


async def make(client: httpx.AsyncClient, count: int) -> list[int]:
    """Creates configs without an initial run, so that the first trigger of each is released at once."""
    answer = await client.post("/configs/bulk/create", json=some(count, enabled=False))
    assert answer.status_code == 200, answer.text
    return [item["config_id"] for item in answer.json()["items"]]


async def trigger(client: httpx.AsyncClient, ids: list[int], **more: Any) -> httpx.Response:
    headers = more.pop("headers", {})
    return await client.post("/configs/bulk/trigger", json={"select": {"ids": ids}, **more}, headers=headers)


def left(answer: httpx.Response) -> str:
    return answer.headers["RateLimit"].split(";t=")[0]


def quotas(answer: httpx.Response) -> dict[str, int]:
    """The rest of each quota that the request needed."""
    return {name: int(rest) for name, rest in re.findall(r'"(\w+)";r=(\d+)', answer.headers["RateLimit"])}


async def test_each_run_of_a_bulk_trigger_counts(api: AdminApi, client: httpx.AsyncClient) -> None:
    ids = await make(client, 4)
    first = await trigger(client, ids)
    assert (first.status_code, left(first)) == (200, '"triggers";r=1')
    assert await accepted_runs(api) == 4
    refused = await trigger(client, ids[:2])
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:candlekeep:problem:too-many-requests")
    assert "counts as 2 triggers" in refused.json()["detail"]
    assert refused.headers["Retry-After"] == "12"
    assert quotas(refused) == {"triggers": 1, "requests": 24}  # four creates, the trigger and this one
    assert await accepted_runs(api) == 4
    last = await client.post(f"/configs/{ids[0]}/trigger")  # the refused request cost no runs
    assert (last.status_code, left(last)) == (202, '"triggers";r=0')
    assert await accepted_runs(api) == 5


async def test_a_trigger_above_the_limit_is_done_if_the_quota_is_full_and_delays_the_next(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    ids = await make(client, 8)
    assert (await trigger(client, ids)).status_code == 200
    assert await accepted_runs(api) == 8
    refused = await client.post(f"/configs/{ids[0]}/trigger")
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "48"  # 3 above the limit and this one, at 5 per minute


async def test_a_dry_run_counts_as_one_request_and_no_run(api: AdminApi, client: httpx.AsyncClient) -> None:
    ids = await make(client, 5)
    assert quotas(await trigger(client, ids, dry_run=True)) == {"requests": 24}
    assert left(await trigger(client, ids)) == '"triggers";r=0'


async def test_a_429_response_is_not_stored_for_an_idempotency_key(api: AdminApi, client: httpx.AsyncClient) -> None:
    ids = await make(client, 5)
    key = {"Idempotency-Key": "all-of-them"}
    assert (await trigger(client, ids[:1])).status_code == 200
    assert (await trigger(client, ids, headers=key)).status_code == 429
    repeated = await trigger(client, ids, headers=key)
    assert (repeated.status_code, "Idempotent-Replayed" in repeated.headers) == (429, False)
    assert (await trigger(client, ids[:2], headers={"Idempotency-Key": "two"})).status_code == 200
    replayed = await trigger(client, ids[:2], headers={"Idempotency-Key": "two"})
    assert replayed.status_code == 200
    assert "triggers" not in quotas(replayed)  # a stored response starts no runs
    assert left(await trigger(client, ids[2:4])) == '"triggers";r=0'


async def test_each_config_that_is_created_or_enabled_in_bulk_counts(a_setting: Callable[..., Any]) -> None:
    api = build_api(a_setting(requests_per_minute=30, triggers_per_minute=100), monotonic=stopped_clock)
    async with client_of(api) as client:
        made = await client.post("/configs/bulk/create", json=some(10, enabled=False))
        assert made.headers["RateLimit-Policy"] == '"requests";q=30;w=60'
        assert quotas(made) == {"requests": 20}
        enabled = await client.post("/configs/bulk/enable", json={"select": {"symbol": "*"}})
        assert enabled.headers["RateLimit-Policy"] == '"triggers";q=100;w=60, "requests";q=30;w=60'
        assert quotas(enabled) == {"triggers": 90, "requests": 10}
        unchanged = await client.post("/configs/bulk/enable", json={"select": {"symbol": "*"}})
        assert quotas(unchanged) == {"requests": 9}
        refused = await client.post("/configs/bulk/create", json=some(15, timeframes=["5m"]))
        assert (refused.status_code, await rows(api, configs)) == (429, 10)
        disabled = await client.post("/configs/bulk/disable", json={"select": {"symbol": "*"}})
        assert quotas(disabled) == {"requests": 7}  # disabling starts no runs
    await api.close()


async def test_each_config_that_a_manifest_creates_or_enables_counts(a_setting: Callable[..., Any]) -> None:
    api = build_api(a_setting(requests_per_minute=30, triggers_per_minute=100), monotonic=stopped_clock)
    async with client_of(api) as client:

        async def apply(**change: Any) -> httpx.Response:
            wanted = some(10)["configs"]
            wanted[0] |= change
            return await client.post("/configs/apply", json={"version": 1, "configs": wanted})

        assert quotas(await apply(enabled=False)) == {"triggers": 91, "requests": 20}
        assert quotas(await apply(enabled=True)) == {"triggers": 90, "requests": 19}
        more = some(20, exchange="kraken")["configs"]
        refused = await client.post("/configs/apply", json={"version": 1, "configs": more})
        assert (refused.status_code, await rows(api, configs)) == (429, 10)
    await api.close()


async def test_each_initial_run_counts(api: AdminApi, client: httpx.AsyncClient) -> None:
    """The requests that start one are those for which the scheduler's `changed` makes an initial tick pending."""
    path = f"/configs/{(await created(client, enabled=False))['id']}"
    runs_left = 5
    for method, url, body, starts_a_run in (
        ("POST", f"{path}/enable", None, True),
        ("POST", f"{path}/enable", None, False),
        ("PUT", path, {"interval_minutes": 5}, False),
        ("PUT", path, {"timeframes": ["1m"]}, False),
        ("PUT", path, {"timeframes": ["1m", "5m"]}, True),
        ("PUT", path, {"symbol": "ETH/USDT"}, True),
        ("POST", f"{path}/disable", None, False),
        ("PUT", path, {"timeframes": ["1m", "5m", "1h"]}, False),
        ("PUT", path, {"enabled": True}, True),
        ("POST", "/configs", a_config(symbol="SOL/USDT"), True),
    ):
        answer = await client.request(method, url, json=body)
        assert answer.status_code < 300, answer.text
        runs_left -= starts_a_run
        assert quotas(answer).get("triggers") == (runs_left if starts_a_run else None), (method, body)
    assert runs_left == 0
    for method, url, body in (
        ("POST", f"{path}/trigger", None),
        ("POST", "/configs", a_config(symbol="ADA/USDT")),
        ("POST", "/configs/bulk/create", some(1)),
        ("POST", "/configs/apply", {"version": 1, "configs": some(1)["configs"]}),
        ("PUT", path, {"timeframes": ["1m", "5m", "1h", "1d"]}),
    ):
        refused = await client.request(method, url, json=body)
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:candlekeep:problem:too-many-requests"), body
        assert refused.headers["Retry-After"] == "12"
    assert await rows(api, configs) == 2


async def test_cycles_of_disable_and_enable_start_no_more_runs_than_the_limit_allows(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    config = await created(client)
    statuses = []
    for _ in range(12):
        await client.post(f"/configs/{config['id']}/disable")
        statuses.append((await client.post(f"/configs/{config['id']}/enable")).status_code)
    assert statuses == [200] * 4 + [429] * 8
    assert (await client.get(f"/configs/{config['id']}")).json()["enabled"] is False


async def test_a_request_that_fails_costs_no_runs(api: AdminApi, client: httpx.AsyncClient) -> None:
    await created(client)
    for headers in ({}, {"Idempotency-Key": "again"}):
        taken = await client.post("/configs", json=a_config(), headers=headers)
        assert (taken.status_code, quotas(taken)["triggers"]) == (409, 4)
    everything = {"configs": [a_config(), a_config(symbol="ETH/USDT")], "atomic": True}
    assert (await client.post("/configs/bulk/create", json=everything)).status_code == 409
    assert left(await client.post("/configs", json=a_config(symbol="ETH/USDT"))) == '"triggers";r=3'
