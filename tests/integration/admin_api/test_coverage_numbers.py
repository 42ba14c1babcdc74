"""The numbers and the spans of GET /coverage equal a count of all periods, one by one, for random ledgers."""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
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
from support.ledgers import EXCHANGE, a_history, expected_rejections, expected_slots
from support.stored_ledgers import BTC, MINUTE, NOON, AbsentSpan, at, iso, store_ledger, store_series

pytestmark = pytest.mark.postgres

NOT_FINAL = ("unread", "unknown", "rejected")
FINAL = ("no_trade", "outage", "before_listing", "delisted", "lost_at_source", "beyond_horizon", "lost")
"""`lost` and `unproven` are names of earlier releases."""
NEW_NAMES = {"unproven": "unknown", "lost": "beyond_horizon"}


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
        kind = rng.choice([*NOT_FINAL, *FINAL, "no_trade", "unproven", "lost"])
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
    final = [(each.start, each.end) for each in ledger.absent if each.absence_class in FINAL]
    tradeless = [(each.start, each.end) for each in ledger.absent if each.absence_class in {"no_trade", "outage"}]
    answered = [each for each in periods if subtract([each], [*ledger.verified, *final]) == ()]
    whole = [each for each in periods if subtract([each], [*ledger.verified, *tradeless]) == ()]
    expected = [len(periods), len(verified), len(whole), len(answered)]
    assert [found[f"{name}_periods"] for name in ("closed", "verified", "whole", "answered")] == expected, ledger
    if not periods:
        assert (found["start"], found["whole"], found["answered"]) == (None, None, None)
        return
    assert (found["whole"], found["answered"]) == (len(whole) / len(periods), len(answered) / len(periods))
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
        classes = {
            NEW_NAMES.get(each.absence_class, each.absence_class)
            for each in ledger.absent
            if intersect([interval], [(each.start, each.end)])
        }
        assert classes | {"unknown"} == {span["absence_class"], "unknown"}, span
        assert (span["run_id"] is None) == (not classes)
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
        final = sum(kind in FINAL for kind in kinds)
        verified = sum(slot.verified for slot in slots)
        assert [answer.closed_periods, answer.verified_periods, answer.answered_periods] == [
            len(slots),
            verified,
            verified + final,
        ]
        for hole in [*answer.open_holes, *answer.absences]:
            covered_slots = [
                kind
                for kind, opens in zip(kinds, history.opens, strict=False)
                if hole.start <= to_instant(opens) < hole.end
            ]
            assert set(covered_slots) == {None if hole.run_id is None else hole.absence_class}
        assert answer.rejected_candles.count == len(expected_rejections(history.events))


async def test_numbers_and_spans_agree_while_the_ledger_changes(api: AdminApi) -> None:
    series_id = await store_series(api.engine, at(0), at(29))
    query = CoverageQuery(**BTC, start=to_instant(at(0)), end=to_instant(at(60)))
    reading = True

    async def change() -> None:
        while reading:
            for spans in ([(at(0), at(10))], [(at(0), at(10)), (at(20), at(30)), (at(40), at(50))]):
                await store_ledger(api.engine, series_id, spans)

    changing = asyncio.create_task(change())
    try:
        sizes = set()
        for _ in range(150):
            found, _ = await coverage_of(api.engine, query, to_instant(at(60)), "/rejected")
            assert sum(span.periods for span in found.verified) == found.verified_periods
            sizes.add(found.verified_periods)
        assert {10, 30} <= sizes, "the reads saw both states"
    finally:
        reading = False
        await changing


async def test_a_ledger_of_61_000_spans_over_ten_years_is_read_in_bounded_time(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    series_id = await store_series(api.engine, NOON - 61_000 * 85 * MINUTE, NOON)
    starts = [NOON - (61_000 - n) * 85 * MINUTE for n in range(61_000)]
    await store_ledger(
        api.engine,
        series_id,
        [(start, start + 80 * MINUTE) for start in starts],
        [AbsentSpan(start + 80 * MINUTE, start + 85 * MINUTE, "beyond_horizon") for start in starts[:-1:2]],
    )
    begun = time.monotonic()
    limits = {"start": iso(starts[0]), "end": iso(NOON), "limit": "1000"}
    found = (await client.get("/coverage", params=BTC | limits)).json()
    assert time.monotonic() - begun < 10, "measured: less than a second, also on a busy machine"
    assert found["verified_periods"] == 61_000 * 80
    assert found["answered_periods"] == 61_000 * 80 + 30_500 * 5
    assert found["closed_periods"] == 61_000 * 85
    assert (len(found["verified"]), len(found["open_holes"]), found["truncated"]) == (500, 500, True)
