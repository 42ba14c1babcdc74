"""GET /coverage: its numbers equal a count of all periods, and its spans together are the whole range."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from admin_api.app import AdminApi
from contracts.coverage import to_milliseconds
from support.api import BASE, client_of, created
from support.stored_ledgers import BTC, MINUTE, NOON, RUN_ID, AbsentSpan, at, iso, store_ledger, store_series

pytestmark = pytest.mark.postgres


async def test_the_coverage_of_kraken_knows_that_its_2w_candles_have_15_days(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    """With 14 days, 14 days of the open candle would count as a period that is not verified."""
    day = 1440 * MINUTE
    now = to_milliseconds(datetime.now(UTC))
    last_close = now - 14 * day - MINUTE
    first = last_close - 4 * 15 * day
    names = {"exchange": "kraken", "symbol": "XRP/USDT", "timeframe": "2w"}
    series_id = await store_series(api.engine, first, last_close - 15 * day, **names)
    await store_ledger(api.engine, series_id, [(first, last_close)])
    found = await covered(client, **names)
    assert (found["verified_periods"], found["closed_periods"], found["whole"]) == (4, 4, 1.0)
    assert (found["end"], found["not_yet_verified"]) == (iso(last_close), None)
    assert [span["periods"] for span in found["verified"]] == [4]


def minutes(spans: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """The spans in minutes after noon."""
    return [
        tuple((to_milliseconds(datetime.fromisoformat(span[edge])) - NOON) / MINUTE for edge in ("start", "end"))  # type: ignore[misc]
        for span in spans
    ]


async def covered(client: httpx.AsyncClient, **params: Any) -> dict[str, Any]:
    response = await client.get("/coverage", params=BTC | params)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


@pytest.fixture
async def half_an_hour(api: AdminApi) -> int:
    """Verified from 12:00 to 12:10 and from 12:20 to 12:30. Between: 4 unknown, 2 beyond the horizon, 4 unreported."""
    series_id = await store_series(api.engine, at(0), at(29))
    absent = [
        AbsentSpan(at(-5), at(-3), "beyond_horizon"),
        AbsentSpan(at(10), at(14), "unknown"),
        AbsentSpan(at(14), at(16), "beyond_horizon"),
        AbsentSpan(at(31), at(32), "unread"),
    ]
    await store_ledger(api.engine, series_id, [(at(0), at(10)), (at(20), at(30))], absent)
    return series_id


RANGE = {"start": iso(at(-10)), "end": iso(at(40))}


@pytest.mark.usefixtures("half_an_hour")
async def test_a_range_has_verified_spans_open_holes_absences_and_the_rest(client: httpx.AsyncClient) -> None:
    found = await covered(client, **RANGE)
    assert (found["start"], found["end"]) == (iso(at(-10)), iso(at(40)))
    assert (found["verified_from"], found["verified_until"]) == (iso(at(0)), iso(at(30)))
    assert minutes(found["verified"]) == [(0, 10), (20, 30)]
    assert minutes(found["open_holes"]) == [(10, 14), (14, 16), (16, 20)]
    assert [hole["absence_class"] for hole in found["open_holes"]] == ["unknown", "beyond_horizon", "unknown"]
    assert [hole["periods"] for hole in found["open_holes"]] == [4, 2, 4]
    assert found["open_holes"][0] | {"start": None, "end": None} == {
        "start": None,
        "end": None,
        "periods": 4,
        "absence_class": "unknown",
        "evidence": "evidence for unknown",
        "first_seen": "2026-11-22T12:00:00Z",
        "last_checked": "2026-11-22T12:00:00Z",
        "run_id": str(RUN_ID),
        "repair": None,
        "level": 0,
        "proof": [],
        "recheck_at": None,
    }
    assert {found["open_holes"][2][name] for name in ("evidence", "first_seen", "last_checked", "run_id")} == {None}
    assert minutes(found["absences"]) == [(-5, -3), (31, 32)]
    assert [each["absence_class"] for each in found["absences"]] == ["beyond_horizon", "unread"]
    assert minutes([found["before_first_verified"], found["not_yet_verified"]]) == [(-10, 0), (30, 40)]
    assert [found[f"{name}_periods"] for name in ("closed", "verified", "answered")] == [50, 20, 24]
    assert (found["whole"], found["answered"], found["truncated"]) == (20 / 50, 24 / 50, False)


@pytest.mark.usefixtures("half_an_hour")
async def test_a_range_without_limits_goes_from_the_first_known_instant_to_the_last_close(
    client: httpx.AsyncClient,
) -> None:
    found = await covered(client)
    assert found["start"] == iso(at(-5)), "an absence is known from then on"
    now = datetime.now(UTC)
    assert now - timedelta(minutes=2) < datetime.fromisoformat(found["end"]) <= now
    assert found["not_yet_verified"]["end"] == found["end"]
    within = await covered(client, start=iso(at(1.5)), end=iso(at(8.5)))
    assert (within["start"], within["end"]) == (iso(at(2)), iso(at(9))), "the candles of GET /candles with this range"
    assert (within["whole"], within["answered"], within["open_holes"]) == (1.0, 1.0, [])
    assert within["before_first_verified"] is within["not_yet_verified"] is None


@pytest.mark.usefixtures("half_an_hour")
@pytest.mark.parametrize(
    "params",
    [
        {"start": "2999-01-01T00:00:00Z"},
        {"start": iso(at(1.2)), "end": iso(at(1.8))},
        {"end": "1971-01-01T00:00:00Z"},
        {"end": "0001-01-01T00:00:00Z"},
        {"start": "9998-12-31T00:00:00Z", "end": "9999-12-31T00:00:00Z"},
    ],
)
async def test_a_range_without_closed_periods_has_no_numbers(client: httpx.AsyncClient, params: dict[str, str]) -> None:
    found = await covered(client, **params)
    assert [found[name] for name in ("start", "end", "answered", "whole", "closed_periods")] == [None] * 4 + [0]
    assert found["verified"] == found["open_holes"] == found["absences"] == []


@pytest.mark.usefixtures("half_an_hour")
@pytest.mark.parametrize("timeframe_of_year_1", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:00+00:00"])
async def test_no_range_begins_before_1970(client: httpx.AsyncClient, timeframe_of_year_1: str) -> None:
    found = await covered(client, start=timeframe_of_year_1, end="9999-12-31T23:59:59Z")
    assert found["start"] == "1970-01-01T00:00:00Z"
    assert found["verified_periods"] == 20


async def test_a_collected_series_about_which_nothing_is_known_is_not_yet_verified(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    await created(client)
    nothing = await covered(client)
    assert (nothing["start"], nothing["whole"], nothing["rejected_candles"]["count"]) == (None, None, 0)
    asked = await covered(client, start=iso(at(0)), end=iso(at(5)))
    assert (minutes([asked["not_yet_verified"]]), asked["whole"], asked["closed_periods"]) == ([(0, 5)], 0.0, 5)
    series_id = await store_series(api.engine)
    await store_ledger(api.engine, series_id, [], [AbsentSpan(at(1), at(3), "beyond_horizon")])
    found = await covered(client, end=iso(at(5)))
    assert (found["start"], minutes(found["absences"])) == (iso(at(1)), [(1, 3)])
    assert (found["open_holes"], found["whole"], found["answered"]) == ([], 0.0, 0.5)


@pytest.mark.usefixtures("half_an_hour")
async def test_an_unknown_series_is_404_and_bad_parameters_are_422(client: httpx.AsyncClient) -> None:
    for other in ({"symbol": "BTCUSDT"}, {"timeframe": "5m"}, {"timeframe": "no timeframe"}, {"exchange": "okx"}):
        unknown = await client.get("/coverage", params=BTC | other)
        assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json"), other
        assert "binance BTC/USDT 1m" in unknown.json()["detail"]
    for params, pointer, detail in (
        ({"start": iso(at(1)), "end": iso(at(1))}, "#/start", "must be before end"),
        ({"start": "yesterday"}, "#/start", ""),
        ({"limit": "0"}, "#/limit", ""),
        ({"limit": "1001"}, "#/limit", ""),
        ({"cursor": "x"}, "#/cursor", "use the cursor in the Link header"),
        ({"until": iso(at(1))}, "#/until", ""),
    ):
        refused = await client.get("/coverage", params=BTC | params)
        assert refused.status_code == 422, params
        [error] = refused.json()["errors"]
        assert (error["pointer"], error["where"]) == (pointer, "query")
        assert detail in error["detail"]
    missing = await client.get("/coverage", params={"exchange": "binance"})
    assert [error["pointer"] for error in missing.json()["errors"]] == ["#/symbol", "#/timeframe"]


async def test_no_token_no_coverage(api: AdminApi) -> None:
    async with client_of(api, token=None) as stranger:
        for path in ("/coverage", "/rejected-candles"):
            assert (await stranger.get(path, params=BTC)).status_code == 401


@pytest.mark.usefixtures("half_an_hour")
@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8])
async def test_pages_contain_each_span_once_and_the_numbers_of_the_whole_range(
    client: httpx.AsyncClient, limit: int
) -> None:
    whole = await covered(client, **RANGE)
    parts: dict[str, list[Any]] = {"verified": [], "open_holes": [], "absences": []}
    target: str | None = str(httpx.URL(f"http://api{BASE}/coverage", params=BTC | RANGE | {"limit": str(limit)}))
    pages = 0
    while target is not None:
        response = await client.get(target)
        body = response.json()
        assert sum(len(body[name]) for name in parts) <= limit
        parts = {name: [*spans, *body[name]] for name, spans in parts.items()}
        assert {name: body[name] for name in body if name not in {*parts, "truncated"}} == {
            name: whole[name] for name in whole if name not in {*parts, "truncated"}
        }
        following = response.links.get("next")
        assert body["truncated"] is (following is not None)
        target = f"http://api{following['url']}" if following else None
        pages += 1
        assert pages <= 7, "a page leads to itself"
    assert parts == {name: whole[name] for name in parts}
    assert pages == -(-7 // limit)


@pytest.mark.usefixtures("half_an_hour")
async def test_a_cursor_belongs_to_its_range(client: httpx.AsyncClient) -> None:
    first = await client.get("/coverage", params=BTC | RANGE | {"limit": 1})
    cursor = httpx.URL(first.links["next"]["url"]).params["cursor"]
    other = await client.get("/coverage", params=BTC | {"start": RANGE["start"], "cursor": cursor})
    assert other.status_code == 422
    assert "other filters" in other.json()["detail"]
