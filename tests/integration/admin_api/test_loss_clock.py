"""The loss clock in the coverage report and in the metrics."""

from datetime import UTC, datetime

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from admin_api.app import AdminApi
from contracts.coverage import to_milliseconds
from support.api import created
from support.stored_ledgers import BTC, MINUTE, AbsentSpan, iso, store_ledger, store_series

pytestmark = pytest.mark.postgres

KRAKEN = {"exchange": "kraken", "symbol": "BTC/USD", "timeframe": "1m"}


def this_minute() -> int:
    return to_milliseconds(datetime.now(UTC)) // MINUTE * MINUTE


async def metrics_of(client: httpx.AsyncClient) -> dict[tuple[str, str], float]:
    text = (await client.get("http://api/metrics")).text
    return {
        (sample.name, sample.labels["exchange"]): sample.value
        for family in text_string_to_metric_families(text)
        if family.name.startswith("candlekeep_next_loss")
        for sample in family.samples
    }


async def test_the_first_missing_candle_that_is_still_offered_has_a_clock(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    now = this_minute()
    await created(client, exchange="kraken", symbol="BTC/USD", timeframes=["1m"], interval_minutes=10)
    await created(client)
    series_id = await store_series(api.engine, now - 3000 * MINUTE, now - MINUTE, **KRAKEN)
    holes = [(now - 900 * MINUTE, now - 890 * MINUTE), (now - 500 * MINUTE, now - 480 * MINUTE)]
    spans = [(now - 3000 * MINUTE, holes[0][0]), (holes[0][1], holes[1][0]), (holes[1][1], now)]
    lost = AbsentSpan(now - 500 * MINUTE, now - 490 * MINUTE, "lost")
    await store_ledger(api.engine, series_id, spans, [lost])
    found = (await client.get("/coverage", params=KRAKEN)).json()["next_loss"]
    # The first hole is beyond the horizon, and the first half of the second is lost already.
    assert (found["start"], found["end"]) == (iso(now - 490 * MINUTE), iso(now - 480 * MINUTE))
    assert found["lost_at"] == iso(now + 230 * MINUTE)
    assert "begins to be lost forever in 3 h" in found["text"]
    listed = (await client.get("/reports/next-losses")).json()
    assert listed == [found | KRAKEN | {"text": listed[0]["text"], "at_risk": False}]
    measured = await metrics_of(client)
    assert measured["candlekeep_next_loss_seconds", "kraken"] == pytest.approx(230 * 60, abs=120)
    assert measured["candlekeep_next_loss_margin_seconds", "kraken"] == pytest.approx(210 * 60, abs=120)
    assert {exchange for _, exchange in measured} == {"kraken"}


async def test_a_series_that_is_no_longer_read_has_a_clock_for_its_newest_candles(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    now = this_minute()
    series_id = await store_series(api.engine, now - 800 * MINUTE, now - 700 * MINUTE, **KRAKEN)
    await store_ledger(api.engine, series_id, [(now - 800 * MINUTE, now - 700 * MINUTE)])
    found = (await client.get("/coverage", params=KRAKEN)).json()["next_loss"]
    assert (found["start"], found["lost_at"]) == (iso(now - 700 * MINUTE), iso(now + 20 * MINUTE))


async def test_an_exchange_without_a_limit_has_no_clock(api: AdminApi, client: httpx.AsyncClient) -> None:
    now = this_minute()
    series_id = await store_series(api.engine, now - 800 * MINUTE, now - 700 * MINUTE)
    await store_ledger(api.engine, series_id, [(now - 800 * MINUTE, now - 700 * MINUTE)])
    assert (await client.get("/coverage", params=BTC)).json()["next_loss"] is None
    assert await metrics_of(client) == {}
