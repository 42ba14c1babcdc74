"""The exchange catalogue in the API, and the refusals and warnings that follow from it."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from admin_api.app import build_api
from support.api import a_config, client_of, created

from .conftest import Settings

pytestmark = pytest.mark.postgres

BITBANK_DAYS = a_config(exchange="bitbank", symbol="BTC/JPY", timeframes=["1m", "1d"])
KRAKEN_DAILY = a_config(exchange="kraken", interval_minutes=1440)


@pytest.fixture
async def restricted(a_setting: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API that allows only two exchanges."""
    api = build_api(a_setting(exchanges_allowed="binance, kraken"))
    async with client_of(api) as client:
        yield client
    await api.close()


async def test_the_list_shows_every_exchange_with_its_traits(client: httpx.AsyncClient) -> None:
    answer = await client.get("/exchanges")
    rows = {row["id"]: row for row in answer.json()}
    assert answer.headers["X-Total-Count"] == str(len(rows))
    assert list(rows) == sorted(rows)
    kraken, bithumb, luno, binance = (rows[each] for each in ("kraken", "bithumb", "luno", "binance"))
    assert (kraken["page_limit"], kraken["history_candles"], kraken["honours_since"]) == (720, 720, True)
    assert "Only the newest 720 candles can be read: 12 hours of 1m" in kraken["warnings"][0]
    assert (bithumb["page_limit"], bithumb["honours_since"], bithumb["traits_known"]) == (200, False, False)
    assert (luno["page_limit"], luno["needs_credentials"]) == (None, True)
    assert (binance["fills_silence"], binance["warnings"], binance["traits_known"]) == (True, [], True)
    assert all(row["allowed"] for row in rows.values())


async def test_one_exchange_shows_its_requests_and_the_candles_that_cannot_be_collected(
    client: httpx.AsyncClient,
) -> None:
    mexc = (await client.get("/exchanges/mexc")).json()
    spot = next(each for each in mexc["requests"] if each["market"] == "spot" and "1m" in each["timeframes"])
    assert (spot["request"], spot["page_limit"], spot["honours_since"]) == ("window", 500, True)
    bitbank = (await client.get("/exchanges/bitbank")).json()
    [refused] = bitbank["cannot_collect"]
    assert refused["timeframes"] == ["4h", "8h", "12h", "1d", "1w"]
    assert "yearly files" in refused["reason"]


async def test_an_unknown_exchange_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await client.get("/exchanges/krakn")
    assert answer.status_code == 404
    assert "did you mean kraken" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/exchanges", "/exchanges/kraken"])
async def test_an_unchanged_catalogue_is_not_sent_again(
    client: httpx.AsyncClient, restricted: httpx.AsyncClient, path: str
) -> None:
    tag = (await client.get(path)).headers["ETag"]
    again = await client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert (await client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
    elsewhere = await restricted.get(path, headers={"If-None-Match": tag})
    assert (elsewhere.status_code == 200) == (path == "/exchanges"), "kraken is allowed in both"


async def test_only_allowed_exchanges_can_be_configured(
    client: httpx.AsyncClient, restricted: httpx.AsyncClient
) -> None:
    reason = "exchange: okx is not allowed here; EXCHANGES_ALLOWED permits binance, kraken"
    refused = await restricted.post("/configs", json=a_config(exchange="okx"))
    assert (refused.status_code, refused.json()["detail"]) == (422, reason)
    config = await created(restricted, exchange="kraken")
    moved = await restricted.put(f"/configs/{config['id']}", json={"exchange": "okx"})
    assert (moved.status_code, moved.json()["detail"]) == (422, reason)
    bulk = (await restricted.post("/configs/bulk/create", json={"configs": [a_config(exchange="okx")]})).json()
    assert bulk["items"][0]["problem"]["detail"] == reason
    manifest = {"configs": [a_config(exchange="okx")]}
    applied = await restricted.post("/configs/apply", json=manifest)
    assert applied.status_code == 422
    assert "okx is not allowed here" in applied.json()["detail"]
    rows = (await restricted.get("/exchanges", params={"allowed": True})).json()
    assert [row["id"] for row in rows] == ["binance", "kraken"]
    assert "okx" in {row["id"] for row in (await restricted.get("/exchanges", params={"allowed": False})).json()}
    assert (await client.post("/configs", json=a_config(exchange="okx"))).status_code == 201


async def test_a_config_whose_exchange_is_no_longer_allowed_can_still_be_changed_and_deleted(
    client: httpx.AsyncClient, restricted: httpx.AsyncClient
) -> None:
    config = await created(client, exchange="okx")
    changed = await restricted.put(f"/configs/{config['id']}", json={"interval_minutes": 30})
    assert (changed.status_code, changed.json()["interval_minutes"]) == (200, 30)
    assert (await restricted.delete(f"/configs/{config['id']}")).status_code == 204


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        (BITBANK_DAYS, "#/timeframes/1"),
        (a_config(exchange="luno", symbol="BTC/ZAR"), "#/timeframes/0"),
        (a_config(exchange="okx", symbol="BTC/USD:BTC-240628"), "#/symbol"),
    ],
)
async def test_every_way_to_create_a_config_refuses_candles_that_cannot_be_collected(
    client: httpx.AsyncClient, wanted: dict[str, Any], pointer: str
) -> None:
    refused = await client.post("/configs", json=wanted)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)
    bulk = (await client.post("/configs/bulk/create", json={"configs": [wanted], "dry_run": True})).json()
    assert bulk["items"][0]["problem"]["errors"][0]["pointer"] == pointer
    applied = await client.post("/configs/apply", json={"configs": [wanted]})
    assert (applied.status_code, applied.json()["errors"][0]["pointer"]) == (422, f"#/configs/0{pointer[1:]}")
    assert (await client.get("/configs")).json() == []


async def test_a_change_of_the_symbol_alone_is_checked(client: httpx.AsyncClient) -> None:
    config = await created(client, exchange="okx")
    moved = await client.put(f"/configs/{config['id']}", json={"symbol": "BTC/USD:BTC-240628"})
    assert (moved.status_code, moved.json()["errors"][0]["pointer"]) == (422, "#/symbol")


async def test_every_way_to_create_a_config_warns_about_an_interval_that_loses_candles(
    client: httpx.AsyncClient,
) -> None:
    body = {"configs": [KRAKEN_DAILY]}
    tried = (await client.post("/configs/bulk/create", json=body | {"dry_run": True})).json()
    planned = (await client.post("/configs/apply", json=body, params={"dry_run": True})).json()
    made = (await client.post("/configs/bulk/create", json=body)).json()
    config = (await client.get(f"/configs/{made['items'][0]['config_id']}")).json()
    for warnings in (tried["items"][0], planned["changes"][0], made["items"][0], config):
        [warning] = warnings["warnings"]
        assert warning.startswith("1m: kraken sends only the newest 720 candles")
        assert warning.endswith("set interval_minutes to 718 or less")
    shorter = await client.put(f"/configs/{config['id']}", json={"interval_minutes": 700})
    assert shorter.json()["warnings"] == []
