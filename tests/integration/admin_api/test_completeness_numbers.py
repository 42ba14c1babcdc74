"""GET /completeness: its numbers are those of GET /coverage, for every grouping and range."""

import random
from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from admin_api.app import AdminApi
from admin_api.coverage.completeness_schemas import Completeness, GroupBy
from admin_api.coverage.report import coverage_of
from admin_api.coverage.schemas import CoverageQuery
from candle_writer.series import SeriesIds
from candle_writer.write import write_candles
from contracts.coverage import ANSWERED_CLASSES, WHOLE_CLASSES, to_instant
from contracts.spans import subtract, union
from contracts.timeframes import DAY_MS, HOUR_MS, close_of, floor_open, shift
from support.completeness import MIDNIGHT, NOW, NUMBERS, counted, read
from support.ledgers import EXCHANGE, SlotState, a_history, before_listing, expected_slots
from support.stored_ledgers import AbsentSpan, store_ledger, store_series

pytestmark = pytest.mark.postgres


CLASSES = ("unread", "unproven", "unknown", "rejected", "lost", "beyond_horizon", "no_trade", "outage", "delisted",
           "before_listing", "before_listing")  # fmt: skip
"""Also the names of the release before."""

FIRST_ABSENCE = text("""
SELECT starts_at, ends_at, absence_class, lower(verified) AS verified_from
FROM series JOIN absences ON absences.series_id = series.id LEFT JOIN coverage ON coverage.series_id = series.id
WHERE exchange = :exchange AND symbol = :symbol AND timeframe = :timeframe ORDER BY starts_at LIMIT 1
""")


async def store_random(api: AdminApi, rng: random.Random, number: int) -> None:
    timeframe = rng.choice(["5m", "1h", "1h", "4h", "1d", "2d", "1w", "2w", "1M", "3M", "1y"])
    names = {"exchange": rng.choice(["kraken", "binance", "okx"]), "symbol": f"S{number}/USDT", "timeframe": timeframe}
    zone = rng.choice([0, 0, 16 * HOUR_MS, -8 * HOUR_MS]) if timeframe not in {"5m", "1h"} else 0
    edges = [shift(timeframe, floor_open(timeframe, MIDNIGHT), -40) + zone]
    length = 15 * DAY_MS if (names["exchange"], timeframe) == ("kraken", "2w") else None
    while len(edges) < 30:
        edges.append(edges[-1] + length if length else close_of(timeframe, edges[-1]))
    jitter = [0, 0, 0, 0, -1, 1, 30_000]
    spans = [sorted(each + rng.choice(jitter) for each in rng.sample(edges, 2)) for _ in range(rng.randrange(6))]
    verified = union((start, end) for start, end in spans)
    absent: list[AbsentSpan] = []
    for _ in range(rng.randrange(5)):
        start, end = sorted(rng.sample(edges, 2))
        free = subtract([(start, end)], [*verified, *((each.start, each.end) for each in absent)])
        absent += [AbsentSpan(*each, rng.choice(CLASSES)) for each in free]
    candles = [edge for edge in edges if any(start <= edge < end for start, end in verified)]
    first, last = (candles[0], candles[-1]) if candles and rng.random() < 0.8 else (None, None)
    series_id = await store_series(api.engine, first, last, **names)
    await store_ledger(api.engine, series_id, verified, absent)


@pytest.mark.parametrize("seed", range(4))
async def test_the_numbers_of_random_ledgers_are_those_of_coverage(api: AdminApi, seed: int) -> None:
    rng = random.Random(seed)
    for number in range(80):
        await store_random(api, rng, number)
    await counted(api)
    first = date(2026, 11, 22) - timedelta(days=rng.choice([5, 90, 400, 3000]))
    for limits in ({}, {"start": first}, {"end": first}, {"start": first, "end": first + timedelta(days=90)}):
        rows = await read(api, group_by="series", limit=rng.choice([7, 1000]), **limits)
        assert len(rows) == 80
        for row in rows:
            await check_against_coverage(api, row, **limits)
        await check_groups(api, rows, **limits)


async def check_against_coverage(api: AdminApi, row: Completeness, **limits: date) -> None:
    names = {name: getattr(row, name) for name in ("exchange", "symbol", "timeframe")}
    instants = {name: datetime(each.year, each.month, each.day, tzinfo=UTC) for name, each in limits.items()}
    all_time, _ = await coverage_of(api.engine, CoverageQuery(**names, **instants), NOW, "/rejected")
    listed_at = await listing_of(api, names)
    if row.closed_periods:
        begins = [all_time.start, await known_from(api, names), await known_from(api, names, start=listed_at)]
        assert row.start == max(each for each in begins if each is not None), names
        of_range = CoverageQuery(**names, start=row.start, end=row.end)
        same, _ = await coverage_of(api.engine, of_range, NOW, "/rejected")
        assert [getattr(row, name) for name in NUMBERS] == [getattr(same, name) for name in NUMBERS], (row, same)
        assert (row.whole, row.answered) == (same.whole, same.answered)
    assert all_time.verified_periods == row.verified_periods
    if listed_at is None:
        assert all_time.answered_periods == row.answered_periods


async def known_from(api: AdminApi, names: dict[str, Any], **limits: datetime | None) -> datetime | None:
    return (await coverage_of(api.engine, CoverageQuery(**names, **limits), NOW, "/rejected"))[0].start


async def listing_of(api: AdminApi, names: dict[str, Any]) -> datetime | None:
    """The end of the first absence, if it is before a proved listing."""
    async with api.engine.connect() as connection:
        row = (await connection.execute(FIRST_ABSENCE, names)).one_or_none()
    if row is None or row.absence_class != "before_listing":
        return None
    is_refuted = row.verified_from is not None and row.verified_from < row.starts_at
    return None if is_refuted else row.ends_at


async def check_groups(api: AdminApi, rows: list[Completeness], **limits: date) -> None:
    sums: dict[str | None, list[int]] = defaultdict(lambda: [0] * 6)
    names = ("closed_periods", "verified_periods", "whole_periods", "answered_periods", "series", "series_not_counted")
    for row in rows:
        for group in (row.exchange, None):
            sums[group] = [one + getattr(row, name) for one, name in zip(sums[group], names, strict=True)]
    for group_by, groups in ((GroupBy.EXCHANGE, sorted({str(row.exchange) for row in rows})), (GroupBy.TOTAL, [None])):
        found = await read(api, group_by=group_by, limit=2, **limits)
        assert [row.exchange for row in found] == groups
        assert [[getattr(row, name) for name in names] for row in found] == [sums[group] for group in groups]


def is_of(slot: SlotState, classes: Collection[str]) -> bool:
    return slot.absence is not None and slot.absence[0] in classes


async def test_the_numbers_are_those_of_the_slots_that_candle_writer_has_stored(api: AdminApi) -> None:
    rng = random.Random(20261127)
    histories = [a_history(rng, number) for number in range(40)]
    events = [event for each in histories for event in each.events]
    rng.shuffle(events)
    for start in range(0, len(events), 30):
        await write_candles(api.engine, SeriesIds(api.engine), events[start : start + 30])
    for history in histories:
        slots = expected_slots(history, history.events)
        not_listed = before_listing(slots)
        slots = [each._replace(absence=None) if number in not_listed else each for number, each in enumerate(slots)]
        [found] = await read(api, exchange=EXCHANGE, symbol=history.symbol)
        verified = sum(slot.verified for slot in slots)
        assert found.verified_periods == verified
        assert found.whole_periods == verified + sum(is_of(slot, WHOLE_CLASSES) for slot in slots)
        assert found.answered_periods == verified + sum(is_of(slot, ANSWERED_CLASSES) for slot in slots)
        known = [number for number, slot in enumerate(slots) if slot.verified or slot.absence]
        first = not_listed.stop if not_listed else known[0]
        final = [number for number in known if slots[number].verified or is_of(slots[number], ANSWERED_CLASSES)]
        assert found.closed_periods == (final[-1] + 1 - first if final else 0)
        assert found.start == (to_instant(history.opens[first]) if found.closed_periods else None)
