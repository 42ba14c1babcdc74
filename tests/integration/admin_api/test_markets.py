"""The state of a config's market: in words, in the numbers of completeness, and in the loss clock."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from candle_writer.recount import recount_outdated
from contracts.coverage import to_milliseconds
from store.tables import market_lists, markets
from support.api import created
from support.stored_ledgers import MINUTE, store_ledger, store_series

pytestmark = pytest.mark.postgres

READ_AT = datetime(2026, 3, 1, 10, tzinfo=UTC)
SINCE = READ_AT - timedelta(hours=8)


async def store_market(api: AdminApi, state: str = "listed", exchange: str = "binance", **values: Any) -> None:
    """A list of the exchange, and BTC/USDT with these values."""
    row = {
        "exchange": exchange,
        "symbol": "BTC/USDT",
        "kind": "spot",
        "market_id": "BTCUSDT",
        "state": state,
        "since": SINCE,
        "evidence": "the lists",
        "missing_lists": 0,
    }
    async with api.engine.begin() as connection:
        await connection.execute(
            sa.insert(market_lists).values(exchange=exchange, kind="spot", read_at=READ_AT, markets=5)
        )
        await connection.execute(sa.insert(markets).values(row | values))


async def market_of(client: httpx.AsyncClient, config: dict[str, Any]) -> dict[str, Any] | None:
    """The market in the response of the config, which is the same in the list."""
    body: dict[str, Any] = (await client.get(f"/configs/{config['id']}")).json()
    assert body in (await client.get("/configs")).json()
    market: dict[str, Any] | None = body["market"]
    return market


async def test_without_a_list_nothing_is_said(client: httpx.AsyncClient) -> None:
    assert await market_of(client, await created(client)) is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "is listed since 2026-03-01 02:00 UTC or earlier"),
        ({"state": "suspended", "frozen_at": SINCE}, "listed as not active since 2026-03-01 02:00 UTC"),
        ({"state": "delisted", "frozen_at": SINCE}, "was delisted: no list has it since 2026-03-01 02:00 UTC"),
        ({"state": "renamed", "frozen_at": SINCE, "renamed_to": "XBT/USDT"}, "create a config for XBT/USDT"),
    ],
)
async def test_the_config_says_the_state_of_its_market(
    api: AdminApi, client: httpx.AsyncClient, values: dict[str, Any], words: str
) -> None:
    config = await created(client)
    await store_market(api, **values)
    market = await market_of(client, config)
    assert market is not None
    assert market["state"] == values.get("state", "listed")
    assert words in market["message"]
    assert (market["since"], market["evidence"]) == ("2026-03-01T02:00:00Z", "the lists")
    assert market["renamed_to"] == values.get("renamed_to")


async def test_the_etag_changes_with_the_state_of_the_market(api: AdminApi, client: httpx.AsyncClient) -> None:
    path = f"/configs/{(await created(client))['id']}"
    tags = [(await client.get(path)).headers["ETag"]]
    await store_market(api)
    for state in ("listed", "delisted"):
        async with api.engine.begin() as connection:
            await connection.execute(sa.update(markets).values(state=state))
        changed = await client.get(path, headers={"If-None-Match": tags[-1]})
        assert (changed.status_code, changed.json()["market"]["state"]) == (200, state)
        tags.append(changed.headers["ETag"])
        unchanged = await client.get(path, headers={"If-None-Match": tags[-1]})
        assert (unchanged.status_code, unchanged.headers["ETag"]) == (304, tags[-1])
    written = await client.put(path, json={"interval_minutes": 30}, headers={"If-Match": tags[1]})
    assert written.status_code == 200, "the config was not changed, only its market was"
    assert (await client.put(path, json={"interval_minutes": 20}, headers={"If-Match": tags[1]})).status_code == 412


async def test_an_absence_that_is_not_confirmed_is_shown_as_such(api: AdminApi, client: httpx.AsyncClient) -> None:
    config = await created(client)
    await store_market(api, missing_since=READ_AT, missing_lists=1, last_listed=SINCE)
    market = await market_of(client, config)
    assert market is not None
    assert (market["state"], market["since"]) == ("missing", "2026-03-01T10:00:00Z")
    assert "This is not confirmed" in market["message"]
    assert market["evidence"] == "last in the list of 2026-03-01 02:00 UTC; absent from 1 list since then"


async def test_a_symbol_in_no_list_is_not_listed(api: AdminApi, client: httpx.AsyncClient) -> None:
    await store_market(api)
    market = await market_of(client, await created(client, symbol="BTX/USDT"))
    assert market is not None
    assert market["state"] == "not_listed"
    swap = await created(client, symbol="BTC/USDT:USDT")
    assert await market_of(client, swap) is None, "the list of swaps was not read yet"


async def test_the_state_is_not_in_the_audit_log(api: AdminApi, client: httpx.AsyncClient) -> None:
    await store_market(api)
    config = await created(client)
    await client.put(f"/configs/{config['id']}", json={"interval_minutes": 30})
    assert all("market" not in (each["after"] or {}) for each in (await client.get("/audit-log")).json())


@pytest.mark.parametrize(("frozen_minutes", "closed"), [(None, 90), (80, 20), (200, 10)])
async def test_a_market_that_is_no_longer_traded_has_no_new_missing_time(
    api: AdminApi, client: httpx.AsyncClient, frozen_minutes: int | None, closed: int
) -> None:
    """Verified from 100 to 90 minutes ago. The target ends when the market was last traded, or with verified time."""
    now = to_milliseconds(datetime.now(UTC)) // MINUTE * MINUTE
    names = {"exchange": "kraken", "symbol": "BTC/USDT", "timeframe": "1m"}
    await created(client, exchange="kraken", symbol="BTC/USDT", timeframes=["1m"])
    series_id = await store_series(api.engine, now - 100 * MINUTE, now - 91 * MINUTE, **names)
    await store_ledger(api.engine, series_id, [(now - 100 * MINUTE, now - 90 * MINUTE)])
    if frozen_minutes is not None:
        frozen_at = datetime.fromtimestamp((now - frozen_minutes * MINUTE) / 1000, UTC)
        await store_market(api, "delisted", "kraken", frozen_at=frozen_at)
    await recount_outdated(api.engine, lambda _: None)
    [numbers] = (await client.get("/completeness", params={"group_by": "series"})).json()
    assert (numbers["closed_periods"], numbers["verified_periods"]) == (pytest.approx(closed, abs=1), 10)
    loss = (await client.get("/coverage", params=names)).json()["next_loss"]
    assert (loss is None) == (frozen_minutes == 200)
