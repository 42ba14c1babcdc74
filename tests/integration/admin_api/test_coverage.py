"""GET /coverage: its numbers equal a count of all periods, and its spans together are the whole range."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from admin_api.app import AdminApi
from admin_api.coverage.report import coverage_of
from admin_api.coverage.schemas import CoverageQuery
from candle_writer.series import SeriesIds
from candle_writer.write import write_candles
from contracts.coverage import to_instant, to_milliseconds
from contracts.spans import Interval, hull, intersect, subtract, union
from contracts.timeframes import HOUR_MS, close_of, floor_open, shift
from support.api import BASE, client_of, created
from support.ledgers import EXCHANGE, a_history, expected_rejections, expected_slots
from support.stored_ledgers import RUN_ID, AbsentSpan, store_ledger, store_rejected, store_series

pytestmark = pytest.mark.postgres

NOON = to_milliseconds(datetime(2026, 11, 22, 12, tzinfo=UTC))
MINUTE = 60_000
BTC = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m"}


def at(minutes: float) -> int:
    return NOON + int(minutes * MINUTE)


def iso(milliseconds: int) -> str:
    return to_instant(milliseconds).isoformat().replace("+00:00", "Z")


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
    """Verified from 12:00 to 12:10 and from 12:20 to 12:30. Between: 4 minutes unproven, 2 lost, 4 without a class."""
    series_id = await store_series(api.engine, at(0), at(29))
    absent = [
        AbsentSpan(at(-5), at(-3), "lost"),
        AbsentSpan(at(10), at(14), "unproven"),
        AbsentSpan(at(14), at(16), "lost"),
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
    assert [hole["absence_class"] for hole in found["open_holes"]] == ["unproven", "lost", "unknown"]
    assert [hole["periods"] for hole in found["open_holes"]] == [4, 2, 4]
    assert found["open_holes"][0] | {"start": None, "end": None} == {
        "start": None,
        "end": None,
        "periods": 4,
        "absence_class": "unproven",
        "evidence": "evidence for unproven",
        "first_seen": "2026-11-22T12:00:00Z",
        "last_checked": "2026-11-22T12:00:00Z",
        "run_id": str(RUN_ID),
    }
    assert {found["open_holes"][2][name] for name in ("evidence", "first_seen", "last_checked", "run_id")} == {None}
    assert minutes(found["absences"]) == [(-5, -3), (31, 32)]
    assert [each["absence_class"] for each in found["absences"]] == ["lost", "unread"]
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
    await store_ledger(api.engine, series_id, [], [AbsentSpan(at(1), at(3), "lost")])
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
    assert parts == {name: whole[name] for name in parts}
    assert pages == -(-7 // limit)


@pytest.mark.usefixtures("half_an_hour")
async def test_a_cursor_belongs_to_its_range(client: httpx.AsyncClient) -> None:
    first = await client.get("/coverage", params=BTC | RANGE | {"limit": 1})
    cursor = httpx.URL(first.links["next"]["url"]).params["cursor"]
    other = await client.get("/coverage", params=BTC | {"start": RANGE["start"], "cursor": cursor})
    assert other.status_code == 422
    assert "other filters" in other.json()["detail"]


async def test_rejected_rows_are_counted_and_listed_in_pages(
    api: AdminApi, client: httpx.AsyncClient, half_an_hour: int
) -> None:
    rows = [(at(n // 2), f'[{n}, "\\"ü\U0001f600\x01{"x" * 480}"]'[:500]) for n in range(7)]
    await store_rejected(api.engine, half_an_hour, rows)
    found = await covered(client, start=iso(at(1)), end=iso(at(3)))
    assert found["rejected_candles"]["count"] == 4
    listed = await client.get(f"http://api{found['rejected_candles']['link']}")
    assert [row["row"] for row in listed.json()] == [text for _, text in rows[2:6]]
    assert listed.json()[0] == {
        "open_time": iso(at(1)),
        "row": rows[2][1],
        "reason": "the high is below the low",
        "first_seen": "2026-11-22T12:00:00Z",
        "last_seen": "2026-11-22T12:00:00Z",
        "times": 2,
        "run_id": str(RUN_ID),
    }
    for sort in ("open_time", "-open_time"):
        response = await client.get("/rejected-candles", params=BTC | {"limit": 2, "sort": sort})
        assert response.headers["X-Total-Count"] == "7"
        seen = response.json()
        while (following := response.links.get("next")) is not None:
            response = await client.get(f"http://api{following['url']}")
            seen += response.json()
        assert [row["row"] for row in seen] == [text for _, text in (rows if sort == "open_time" else rows[::-1])]


async def test_rejected_rows_of_an_unknown_series_are_404_and_bad_ranges_422(client: httpx.AsyncClient) -> None:
    assert (await client.get("/rejected-candles", params=BTC)).status_code == 404
    await created(client)
    empty = await client.get("/rejected-candles", params=BTC)
    assert (empty.status_code, empty.json(), empty.headers["X-Total-Count"]) == (200, [], "0")
    refused = await client.get("/rejected-candles", params=BTC | {"start": iso(at(1)), "end": iso(at(0))})
    assert refused.status_code == 422


# The numbers and spans of random ledgers, compared with a list of all periods.


@dataclass(frozen=True)
class Ledger:
    """A random ledger of one series, as candle-writer guarantees it, and a range."""

    timeframe: str
    edges: list[int]
    """The start of every period around, ascending."""
    verified: tuple[Interval, ...]
    absent: tuple[AbsentSpan, ...]
    start: int | None
    end: int | None
    now: int


def a_ledger(rng: random.Random) -> Ledger:
    timeframe = rng.choice(["1m", "1m", "1h", "1d", "1w", "1M", "3M", "1y"])
    zone = 0 if timeframe in {"1m", "1h"} else rng.choice([0, 0, 16 * HOUR_MS, -8 * HOUR_MS])
    first = floor_open(timeframe, to_milliseconds(datetime(1999, 3, 5, tzinfo=UTC))) + zone
    first = shift(timeframe, first, 0)
    edges = [first]
    while len(edges) < 26:
        edges.append(close_of(timeframe, edges[-1]))
    spans = [sorted(rng.sample(edges[4:20], 2)) for _ in range(rng.randrange(6))]
    verified = union((start, end) for start, end in spans)
    absent: list[AbsentSpan] = []
    for _ in range(rng.randrange(6)):
        free = subtract([sorted(rng.sample(edges, 2))], [*verified, *((each.start, each.end) for each in absent)])  # type: ignore[list-item]
        kind = rng.choice(["unread", "unproven", "rejected", "lost", "lost"])
        absent += [AbsentSpan(start, end, kind) for start, end in free]
    start, end = sorted(rng.sample([edge + rng.choice([0, 0, -1, 1, 997]) for edge in edges], 2))
    now = rng.choice(edges[10:]) + rng.choice([0, 1, 500])
    return Ledger(
        timeframe,
        edges,
        verified,
        tuple(absent),
        rng.choice([start, start, None]),
        rng.choice([end, end, None]),
        now,
    )


def periods_in_range(of: Ledger, known_from: int | None) -> list[Interval]:
    """The closed periods that begin in the range, one by one."""
    start = of.start if of.start is not None else known_from
    if start is None:
        return []
    pairs = zip(of.edges, of.edges[1:], strict=False)
    return [
        (opens, closes)
        for opens, closes in pairs
        if opens >= start and (of.end is None or opens < of.end) and closes <= of.now
    ]


def seen_spans(found: dict[str, Any], *names: str) -> list[Interval]:
    spans = [span for name in names for span in (found[name] if isinstance(found[name], list) else [found[name]])]
    return [(to_milliseconds(span["start"]), to_milliseconds(span["end"])) for span in spans if span is not None]


def known_instants(of: Ledger) -> Iterator[int]:
    yield from (start for start, _ in of.verified)
    yield from (each.start for each in of.absent)


@pytest.mark.parametrize("seed", range(4))
async def test_numbers_and_spans_of_random_ledgers_equal_a_count_of_all_periods(api: AdminApi, seed: int) -> None:
    rng = random.Random(seed)
    for number in range(75):
        ledger = a_ledger(rng)
        if not any(known_instants(ledger)):  # its periods are those of the usual grid
            continue
        names = {"exchange": "x", "symbol": f"S{number}/USDT", "timeframe": ledger.timeframe}
        candles = [opens for opens in ledger.edges if any(start <= opens < end for start, end in ledger.verified)]
        series_id = await store_series(api.engine, *((candles[0], candles[-1]) if candles else ()), **names)
        await store_ledger(api.engine, series_id, ledger.verified, ledger.absent)
        limits = {"start": ledger.start, "end": ledger.end}
        query = CoverageQuery(**names, **{name: to_instant(each) for name, each in limits.items() if each is not None})
        answer, following = await coverage_of(api.engine, query, to_instant(ledger.now), "/rejected")
        assert following is None
        check_answer(answer.model_dump(), ledger)


def check_answer(found: dict[str, Any], ledger: Ledger) -> None:
    periods = periods_in_range(ledger, min(known_instants(ledger), default=None))
    verified = [each for each in periods if subtract([each], ledger.verified) == ()]
    lost = [(each.start, each.end) for each in ledger.absent if each.absence_class == "lost"]
    answered = [each for each in periods if subtract([each], [*ledger.verified, *lost]) == ()]
    expected = [len(periods), len(verified), len(answered)]
    assert [found[f"{name}_periods"] for name in ("closed", "verified", "answered")] == expected, ledger
    if not periods:
        assert (found["start"], found["whole"], found["answered"]) == (None, None, None)
        return
    assert (found["whole"], found["answered"]) == (len(verified) / len(periods), len(answered) / len(periods))
    asked = union(periods)
    parts = seen_spans(found, "before_first_verified", "verified", "open_holes", "not_yet_verified")
    assert union(parts) == asked, "together they are the whole range"
    assert sum(end - start for start, end in parts) == sum(end - start for start, end in asked), "without overlaps"
    assert tuple(seen_spans(found, "verified")) == intersect(ledger.verified, asked)
    holes = subtract(intersect(hull(ledger.verified), asked), ledger.verified)
    assert union(seen_spans(found, "open_holes")) == holes
    outside = subtract(asked, hull(ledger.verified))
    assert union(seen_spans(found, "absences")) == intersect(
        [(each.start, each.end) for each in ledger.absent], outside
    )
    for span in [*found["open_holes"], *found["absences"]]:
        interval = to_milliseconds(span["start"]), to_milliseconds(span["end"])
        classes = {each.absence_class for each in ledger.absent if intersect([interval], [(each.start, each.end)])}
        assert classes == ({span["absence_class"]} - {"unknown"}), span
        assert span["periods"] == sum(subtract([period], [interval]) == () for period in periods)


async def test_the_numbers_equal_the_slots_that_candle_writer_has_stored(api: AdminApi) -> None:
    rng = random.Random(20261127)
    histories = [a_history(rng, number) for number in range(40)]
    await write_candles(api.engine, SeriesIds(api.engine), [event for each in histories for event in each.events])
    for history in histories:
        slots = expected_slots(history, history.events)
        names = {"exchange": EXCHANGE, "symbol": history.symbol, "timeframe": history.timeframe}
        start, end = to_instant(history.opens[0]), to_instant(history.opens[-1])
        query = CoverageQuery(**names, start=start, end=end, limit=1000)
        answer, _ = await coverage_of(api.engine, query, end, "/rejected")
        kinds = [slot.absence and slot.absence[0] for slot in slots]
        lost = sum(kind == "lost" for kind in kinds)
        verified = sum(slot.verified for slot in slots)
        assert [answer.closed_periods, answer.verified_periods, answer.answered_periods] == [
            len(slots),
            verified,
            verified + lost,
        ]
        for hole in [*answer.open_holes, *answer.absences]:
            covered_slots = [
                kind
                for kind, opens in zip(kinds, history.opens, strict=False)
                if hole.start <= to_instant(opens) < hole.end
            ]
            assert set(covered_slots) == {None if hole.absence_class == "unknown" else hole.absence_class}
        assert answer.rejected_candles.count == len(expected_rejections(history.events))


async def test_a_ledger_of_61_000_spans_over_ten_years_is_read_in_bounded_time(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    series_id = await store_series(api.engine, NOON - 61_000 * 85 * MINUTE, NOON)
    starts = [NOON - (61_000 - n) * 85 * MINUTE for n in range(61_000)]
    await store_ledger(
        api.engine,
        series_id,
        [(start, start + 80 * MINUTE) for start in starts],
        [AbsentSpan(start + 80 * MINUTE, start + 85 * MINUTE, "lost") for start in starts[:-1:2]],
    )
    begun = time.monotonic()
    found = await covered(client, start=iso(starts[0]), end=iso(NOON), limit=1000)
    assert time.monotonic() - begun < 10, "measured: less than a second, also on a busy machine"
    assert found["verified_periods"] == 61_000 * 80
    assert found["answered_periods"] == 61_000 * 80 + 30_500 * 5
    assert found["closed_periods"] == 61_000 * 85
    assert (len(found["verified"]), len(found["open_holes"]), found["truncated"]) == (500, 500, True)
