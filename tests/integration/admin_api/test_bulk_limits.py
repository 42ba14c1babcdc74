"""A bulk request costs one request per config in the rate limit."""

from collections.abc import AsyncIterator, Callable
from inspect import signature
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi, build_api
from admin_api.middleware.rate_limits import RateLimitMiddleware
from store.tables import configs, manual_runs
from support.api import a_config

pytestmark = pytest.mark.postgres


@pytest.fixture
async def api(a_setting: Callable[..., Any]) -> AsyncIterator[AdminApi]:
    """The rate limits have a stopped clock, so no token is refilled."""
    made = build_api(a_setting(requests_per_minute=30, triggers_per_minute=5))
    [limits] = [each for each in made.app.user_middleware if each.cls is RateLimitMiddleware]
    now = signature(RateLimitMiddleware).parameters["monotonic"].default()
    limits.kwargs["monotonic"] = lambda: now
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


async def test_each_run_of_a_bulk_trigger_counts(api: AdminApi, client: httpx.AsyncClient) -> None:
    ids = await make(client, 4)
    first = await trigger(client, ids)
    assert (first.status_code, left(first)) == (200, '"triggers";r=1')
    assert await accepted_runs(api) == 4
    refused = await trigger(client, ids[:2])
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:candlekeep:problem:too-many-requests")
    assert "counts as 2 triggers" in refused.json()["detail"]
    assert refused.headers["Retry-After"] == "12"
    assert await accepted_runs(api) == 4
    last = await client.post(f"/configs/{ids[0]}/trigger")  # the refused request cost nothing
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


async def test_a_dry_run_counts_once(api: AdminApi, client: httpx.AsyncClient) -> None:
    ids = await make(client, 5)
    assert left(await trigger(client, ids, dry_run=True)) == '"triggers";r=4'


async def test_a_429_response_is_not_stored_for_an_idempotency_key(api: AdminApi, client: httpx.AsyncClient) -> None:
    ids = await make(client, 5)
    key = {"Idempotency-Key": "all-of-them"}
    assert (await trigger(client, ids[:1])).status_code == 200
    assert (await trigger(client, ids, headers=key)).status_code == 429
    repeated = await trigger(client, ids, headers=key)
    assert (repeated.status_code, "Idempotent-Replayed" in repeated.headers) == (429, False)
    assert (await trigger(client, ids[:2], headers={"Idempotency-Key": "two"})).status_code == 200
    replayed = await trigger(client, ids[:2], headers={"Idempotency-Key": "two"})
    assert (replayed.status_code, left(replayed)) == (200, '"triggers";r=1')  # a stored response starts no runs


async def test_each_config_that_is_created_or_enabled_in_bulk_counts(api: AdminApi, client: httpx.AsyncClient) -> None:
    made = await client.post("/configs/bulk/create", json=some(10, enabled=False))
    assert left(made) == '"requests";r=20'
    enabled = await client.post("/configs/bulk/enable", json={"select": {"symbol": "*"}})
    assert left(enabled) == '"requests";r=10'
    unchanged = await client.post("/configs/bulk/enable", json={"select": {"symbol": "*"}})
    assert left(unchanged) == '"requests";r=9'
    refused = await client.post("/configs/bulk/create", json=some(15, timeframes=["5m"]))
    assert (refused.status_code, await rows(api, configs)) == (429, 10)
    disabled = await client.post("/configs/bulk/disable", json={"select": {"symbol": "*"}})
    assert left(disabled) == '"requests";r=8'  # disabling starts no runs


async def test_each_config_that_a_manifest_creates_or_enables_counts(api: AdminApi, client: httpx.AsyncClient) -> None:
    async def apply(**change: Any) -> httpx.Response:
        wanted = some(10)["configs"]
        wanted[0] |= change
        return await client.post("/configs/apply", json={"version": 1, "configs": wanted})

    assert left(await apply(enabled=False)) == '"requests";r=20'
    assert left(await apply(enabled=True)) == '"requests";r=19'
    more = some(20, exchange="kraken")["configs"]
    refused = await client.post("/configs/apply", json={"version": 1, "configs": more})
    assert (refused.status_code, await rows(api, configs)) == (429, 10)
