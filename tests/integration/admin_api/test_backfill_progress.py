"""The progress of a backfill, of its series and of its chunks."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from admin_api.app import AdminApi
from support.api import created
from support.ordering_backfills import DAY, NOW, details, ordered
from support.stored_backfills import store_chunks
from support.stored_ledgers import MINUTE, iso, store_ledger, store_series

pytestmark = pytest.mark.postgres


async def test_the_progress_follows_the_ledger_and_the_chunks(api: AdminApi, client: httpx.AsyncClient) -> None:
    config = await created(client, timeframes=["1m"])
    series_id = await store_series(api.engine, NOW - 2 * DAY, NOW - MINUTE)
    await store_ledger(api.engine, series_id, [(NOW - DAY, NOW)])
    backfill_id = (await ordered(client))["id"]
    found = (await details(client, backfill_id))["progress"]
    assert (found["percent"], found["is_whole"], found["candles"]) == (10.0, False, 14_400)
    assert (found["reached"], found["candles_per_second"], found["eta"]) == (iso(NOW - DAY), None, None)
    await store_ledger(api.engine, series_id, [(NOW - 4 * DAY, NOW)])
    now = datetime.now(UTC)
    done = {"backfill_id": backfill_id, "state": "verified", "ended_at": now, "created_at": now - timedelta(minutes=5)}
    await store_chunks(api.engine, series_id, [(NOW - 4 * DAY, NOW - DAY)], config_id=config["id"], **done)
    waits = {"reason": "The exchange answered, but nothing proves 1 candle.", "backfill_id": backfill_id}
    await store_chunks(
        api.engine,
        series_id,
        [(NOW - 5 * DAY, NOW - 4 * DAY)],
        config_id=config["id"],
        **waits,
    )
    body = await details(client, backfill_id)
    found = body["progress"]
    assert (found["percent"], found["reached"]) == (40.0, iso(NOW - 4 * DAY))
    assert found["candles_per_second"] == pytest.approx(3 * 1440 / 300, rel=0.1)
    eta = datetime.fromisoformat(found["eta"]) - datetime.now(UTC)
    assert eta.total_seconds() == pytest.approx(6 * 1440 / found["candles_per_second"], abs=10)
    assert (found["chunks"]["waiting"], found["chunks"]["verified"]) == (1, 1)
    assert found["next_attempt_at"] == iso(NOW - 4 * DAY)
    assert found["reasons"] == [{"state": "waiting", "error_class": None, "reason": waits["reason"], "chunks": 1}]
    assert (body["remaining"]["candles"], body["remaining"]["is_upper_bound"]) == (6 * 1440, True)
    await store_ledger(api.engine, series_id, [(NOW - 20 * DAY, NOW)])
    found = (await details(client, backfill_id))["progress"]
    assert (found["percent"], found["is_whole"], found["eta"]) == (100.0, True, None)


async def test_a_backfill_of_the_mode_all_counts_only_its_own_chunks(api: AdminApi, client: httpx.AsyncClient) -> None:
    await created(client, timeframes=["1m"])
    series_id = await store_series(api.engine, NOW - 20 * DAY, NOW - MINUTE)
    await store_ledger(api.engine, series_id, [(NOW - 20 * DAY, NOW)])
    backfill_id = (await ordered(client, mode="all"))["id"]
    assert (await details(client, backfill_id))["progress"]["percent"] == 0.0
    half = [(NOW - 5 * DAY, NOW)]
    await store_chunks(api.engine, series_id, half, state="verified", ended_at=datetime.now(UTC))
    assert (await details(client, backfill_id))["progress"]["percent"] == 0.0
    done = {"state": "verified", "ended_at": datetime.now(UTC), "backfill_id": backfill_id}
    await store_chunks(api.engine, series_id, half, **done)
    assert (await details(client, backfill_id))["progress"]["percent"] == 50.0


async def test_the_series_of_a_backfill_have_their_own_progress(api: AdminApi, client: httpx.AsyncClient) -> None:
    config = await created(client, timeframes=["1m"])
    await created(client, symbol="ETH/USDT", timeframes=["1m"])
    series_id = await store_series(api.engine, NOW - 20 * DAY, NOW - MINUTE)
    await store_ledger(api.engine, series_id, [(NOW - 4 * DAY, NOW)])
    backfill_id = (await ordered(client))["id"]
    first = await client.get(f"/backfills/{backfill_id}/series?limit=1")
    assert first.headers["x-total-count"] == "2"
    names = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m", "config_id": config["id"]}
    counts = {"candles": 14_400, "missing_candles": 8640, "percent": 40.0, "is_whole": False}
    assert first.json() == [names | counts]
    [second] = (await client.get(f"http://api{first.links['next']['url']}")).json()
    assert (second["symbol"], second["candles"], second["percent"]) == ("ETH/USDT", 14_400, 0.0)
    assert (await client.get("/backfills/999/series")).status_code == 404


async def test_the_chunks_of_a_backfill_have_pages_states_and_reasons(api: AdminApi, client: httpx.AsyncClient) -> None:
    await created(client, timeframes=["1m"])
    series_id = await store_series(api.engine, NOW - 20 * DAY, NOW - MINUTE)
    backfill_id = (await ordered(client))["id"]
    of_it, other = {"backfill_id": backfill_id}, {"backfill_id": backfill_id + 1}
    refused = {"state": "failed", "reason": "okx answered HTTP 400", "error_class": "invalid_request", "attempts": 3}
    await store_chunks(api.engine, series_id, [(NOW - 2 * DAY, NOW - DAY), (NOW - 3 * DAY, NOW - 2 * DAY)], **of_it)
    await store_chunks(api.engine, series_id, [(NOW - 4 * DAY, NOW - 3 * DAY)], **of_it, **refused)
    await store_chunks(api.engine, series_id, [(NOW - 9 * DAY, NOW - 8 * DAY)], **other, **refused)
    first = await client.get(f"/backfills/{backfill_id}/chunks?limit=2")
    assert first.headers["x-total-count"] == "3"
    rest = await client.get(f"http://api{first.links['next']['url']}")
    chunks = [*first.json(), *rest.json()]
    assert [each["end"] for each in chunks] == [iso(NOW - DAY), iso(NOW - 2 * DAY), iso(NOW - 3 * DAY)]
    assert {(each["symbol"], each["timeframe"]) for each in chunks} == {("BTC/USDT", "1m")}
    failed = (await client.get(f"/backfills/{backfill_id}/chunks?state=failed&sort=-id")).json()
    assert failed == chunks[2:]
    assert failed[0].items() >= refused.items()
    assert (await client.get("/backfills/999/chunks")).status_code == 404
