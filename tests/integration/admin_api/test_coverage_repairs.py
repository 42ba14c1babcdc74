"""GET /coverage shows the attempts, the next attempt and the reason of each hole."""

import httpx
import pytest

from admin_api.app import AdminApi
from contracts.coverage import to_instant
from support.stored_backfills import store_chunks
from support.stored_ledgers import BTC, AbsentSpan, at, iso, store_ledger, store_series

pytestmark = pytest.mark.postgres


async def test_each_hole_shows_its_repair(api: AdminApi, client: httpx.AsyncClient) -> None:
    series_id = await store_series(api.engine, at(0), at(99))
    spans = [(at(0), at(10)), (at(20), at(30)), (at(40), at(50)), (at(60), at(100))]
    await store_ledger(api.engine, series_id, spans, [AbsentSpan(at(10), at(20))])
    tried = {"attempts": 2, "reason": "The exchange answered with nothing.", "next_attempt_at": to_instant(at(200))}
    await store_chunks(api.engine, series_id, [(at(5), at(25))], **tried, loss_at=to_instant(at(900)))
    await store_chunks(api.engine, series_id, [(at(30), at(40))], state="requested")
    ended = {"state": "verified", "ended_at": to_instant(at(100)), "attempts": 7}
    await store_chunks(api.engine, series_id, [(at(50), at(60))], **ended)
    other = await store_series(api.engine, symbol="ETH/USDT")
    await store_chunks(api.engine, other, [(at(50), at(60))])
    answer = await client.get("/coverage", params=BTC)
    assert answer.status_code == 200, answer.text
    [classified, requested, without] = answer.json()["open_holes"]
    assert classified["repair"] == {
        "state": "waiting",
        "chunks": 1,
        "attempts": 2,
        "next_attempt_at": iso(at(200)),
        "reason": "The exchange answered with nothing.",
        "error_class": None,
        "loss_at": iso(at(900)),
    }
    assert (requested["repair"]["state"], requested["repair"]["next_attempt_at"]) == ("requested", None)
    assert (without["absence_class"], without["repair"]) == ("unknown", None)


async def test_an_absence_before_the_first_verified_instant_shows_its_repair(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    series_id = await store_series(api.engine, at(50), at(99))
    await store_ledger(api.engine, series_id, [(at(50), at(100))], [AbsentSpan(at(0), at(50))])
    await store_chunks(api.engine, series_id, [(at(0), at(50))], attempts=1, state="failed", error_class="bad_symbol")
    [absence] = (await client.get("/coverage", params=BTC)).json()["absences"]
    assert (absence["repair"]["state"], absence["repair"]["error_class"]) == ("failed", "bad_symbol")
