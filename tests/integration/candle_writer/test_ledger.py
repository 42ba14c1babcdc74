"""The stored ledger equals a ledger that is computed slot by slot, and never contradicts the stored candles."""

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from candle_writer.series import SeriesIds
from candle_writer.write import write_candles
from contracts.candles import CandlesCollected
from contracts.coverage import AbsenceClass
from support.databases import connected
from support.depth import tries
from support.fetches import a_candle, a_fetch
from support.ledger_disagreements import DISAGREEMENTS
from support.ledger_events import an_absence, span
from support.ledgers import (
    SeriesHistory,
    StoredLedger,
    a_history,
    expected_days,
    expected_rejections,
    expected_slots,
)
from support.writers import query

pytestmark = pytest.mark.postgres
HISTORIES = 250
"""For each seed."""


def deliveries(rng: random.Random, histories: list[SeriesHistory]) -> Iterator[list[CandlesCollected]]:
    """Every event once or several times, in any order, in batches with events of many series."""
    events = [event for history in histories for event in history.events for _ in range(rng.choice((1, 1, 2, 3)))]
    rng.shuffle(events)
    while events:
        size = rng.choice((1, 5, 60, 150))
        yield events[:size]
        events = events[size:]


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(tries(1, deep=8)))
async def test_the_ledger_equals_one_computed_slot_by_slot(engine: AsyncEngine, database_url: str, seed: int) -> None:
    rng = random.Random(seed)
    histories = [a_history(rng, number) for number in range(HISTORIES)]
    by_symbol = {history.symbol: history for history in histories}
    delivered: dict[str, list[CandlesCollected]] = defaultdict(list)
    async with connected(database_url) as connection:
        for number, batch in enumerate(deliveries(rng, histories)):
            await write_candles(engine, SeriesIds(engine), batch)
            for event in batch:
                delivered[event.symbol].append(event)
            if number % 10 == 0:
                assert await connection.fetch(DISAGREEMENTS) == []
                stored = await StoredLedger.read(connection)
                for symbol in {event.symbol for event in batch}:
                    history = by_symbol[symbol]
                    slots = expected_slots(history, delivered[symbol])
                    assert stored.slots(history) == slots, symbol
                    assert stored.days(history) == expected_days(history, slots), symbol
        await assert_everything_is_stored(connection, histories)


async def assert_everything_is_stored(connection: asyncpg.Connection, histories: list[SeriesHistory]) -> None:
    assert await connection.fetch(DISAGREEMENTS) == []
    stored = await StoredLedger.read(connection)
    for history in histories:
        slots = expected_slots(history, history.events)
        assert stored.slots(history) == slots, history.symbol
        assert stored.days(history) == expected_days(history, slots), history.symbol
        assert stored.rejections(history) == expected_rejections(history.events), history.symbol


async def test_two_writers_of_the_same_series_give_the_same_ledger(engine: AsyncEngine, database_url: str) -> None:
    rng = random.Random(5)
    histories = [a_history(rng, number) for number in range(30)]
    writing = asyncio.Event()

    async def write(seed: int) -> None:
        for batch in deliveries(random.Random(seed), histories):
            await write_candles(engine, SeriesIds(engine), batch)

    async def observe() -> int:
        async with connected(database_url) as observer:
            for number in itertools.count():
                assert await observer.fetch(DISAGREEMENTS) == []
                if writing.is_set():
                    return number
        raise AssertionError

    observing = asyncio.create_task(observe())
    await asyncio.gather(*(write(seed) for seed in range(3)))
    writing.set()
    assert await observing > 5
    async with connected(database_url) as connection:
        await assert_everything_is_stored(connection, histories)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        ("DELETE FROM candles WHERE open_time = '2026-11-22 12:03Z'", "verified, but not stored"),
        ("DELETE FROM coverage", "stored, but not verified"),
        ("UPDATE coverage SET verified = verified - '{[2026-11-22 12:03Z, 2026-11-22 12:04Z)}'", "stored, but not"),
        ("UPDATE absences SET starts_at = '2026-11-22 12:04Z' WHERE absence_class = 'unread'", "verified and absent"),
        ("UPDATE absences SET ends_at = '2026-11-22 12:30Z' WHERE absence_class = 'unread'", "absent twice"),
    ],
)
async def test_a_contradiction_is_noticed(engine: AsyncEngine, database_url: str, spoil: str, problem: str) -> None:
    values: dict[str, Any] = {
        "verified": (span(0, 6),),
        "absences": (an_absence(6, 8), an_absence(8, 9, AbsenceClass.BEYOND_HORIZON)),
    }
    await write_candles(engine, SeriesIds(engine), [a_fetch(*map(a_candle, range(6)), symbol="FILLS/USDT", **values)])
    assert await query(database_url, DISAGREEMENTS) == []
    await query(database_url, spoil)
    found = await query(database_url, DISAGREEMENTS)
    problems = {row[0] for row in found} - {"not in the daily counts"}
    assert problems
    assert all(each.startswith(problem) for each in problems)


@pytest.mark.parametrize(
    "spoil",
    [
        "DELETE FROM series_counts",
        "UPDATE absences SET ends_at = ends_at + interval '1 minute' WHERE absence_class = 'beyond_horizon'",
        "UPDATE coverage SET verified = verified + '{[2026-11-22 12:30Z, 2026-11-22 12:31Z)}'",
    ],
)
async def test_a_ledger_that_is_not_counted_is_noticed(engine: AsyncEngine, database_url: str, spoil: str) -> None:
    absences = (an_absence(6, 8), an_absence(8, 9, AbsenceClass.BEYOND_HORIZON))
    await write_candles(engine, SeriesIds(engine), [a_fetch(verified=(span(0, 6),), absences=absences)])
    assert await query(database_url, DISAGREEMENTS) == []
    await query(database_url, spoil)
    assert [row[0] for row in await query(database_url, DISAGREEMENTS)] == ["not in the daily counts"]
