"""The daily counts equal those that are counted from the ledger from scratch, after any events in any order."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from candle_writer.day_tables import ALL_TIME, write_days
from candle_writer.recount import recount_outdated
from candle_writer.series import SeriesIds
from candle_writer.write import write_candles
from contracts.candles import Candle, CandlesCollected
from contracts.coverage import MINIMUM_LEVELS, Absence, AbsenceClass, Span, span_of, to_instant
from contracts.timeframes import DAY_MS, HOUR_MS, floor_open, shift
from runtime.database import driver_transaction
from support.databases import connected
from support.depth import tries
from support.fetches import NOON_MS, a_fetch
from support.writers import query

pytestmark = pytest.mark.postgres

MIDNIGHT = NOON_MS - 12 * HOUR_MS
FINAL = AbsenceClass.BEYOND_HORIZON
CHECKED = datetime(2026, 12, 20, tzinfo=UTC)
DAYS = "SELECT day::text, unverified, whole, answered FROM series_days ORDER BY series_id, day"
SUMS = "SELECT unverified, whole, answered FROM series_counts ORDER BY series_id"
EVERYTHING = """
SELECT 'day', series_id, day::text, unverified, whole, answered, NULL, NULL, NULL, NULL FROM series_days UNION ALL
SELECT 'sums', series_id, NULL, unverified, whole, answered, first_absence, answered_until, missing, listed_at
FROM series_counts
ORDER BY 1, 2, 3
"""


def span(first: float, last: float) -> Span:
    """Hours after midnight."""
    return span_of((MIDNIGHT + int(first * HOUR_MS), MIDNIGHT + int(last * HOUR_MS)))


def an_event(second: float = 0, **values: Any) -> CandlesCollected:
    at = CHECKED + timedelta(seconds=second)
    return CandlesCollected(**a_fetch(fetched_at=at, occurred_at=at).model_dump() | {"rows": ()} | values)


def an_absence(first: float, last: float, kind: AbsenceClass = FINAL) -> Absence:
    found = span(first, last)
    level = MINIMUM_LEVELS[kind]
    return Absence(start=found.start, end=found.end, absence_class=kind, evidence="720 candles only", level=level)


async def write(engine: AsyncEngine, *events: CandlesCollected) -> None:
    await write_candles(engine, SeriesIds(engine), events)


# ---- from scratch ----


def a_random_event(rng: random.Random, timeframe: str, second: int) -> CandlesCollected:
    """Spans that begin at any time, also inside of periods, and candles that open at various times of the day."""
    zone = rng.choice((0, 0, 0, 0, 0, 8 * HOUR_MS, 90_000)) if rng.random() < 0.3 else 0
    first = shift(timeframe, floor_open(timeframe, MIDNIGHT), -71)

    def instant() -> int:
        return shift(timeframe, first, rng.randrange(60)) + rng.choice((0, 0, 0, 0, 17_000, -1000))

    def a_span() -> tuple[int, int]:
        start = instant()
        return start, max(start + 1000, shift(timeframe, start, rng.randint(0, 9)))

    values: dict[str, Any] = {"timeframe": timeframe, "symbol": f"{timeframe}/USDT"}
    if rng.random() < 0.7:
        values["verified"] = tuple(span_of(a_span()) for _ in range(rng.choice((1, 1, 2))))
    if rng.random() < 0.4:
        opens = shift(timeframe, first, rng.randrange(60)) + zone
        values["rows"] = (Candle(opens, 1.0, 9.0, 0.5, 2.0, 3.0),)
    if rng.random() < 0.4 or values.keys() == {"timeframe", "symbol"}:
        start, end = a_span()
        kind = rng.choice((FINAL, AbsenceClass.NO_TRADE, *AbsenceClass))
        level, times = MINIMUM_LEVELS[kind], {"start": to_instant(start), "end": to_instant(end)}
        values["absences"] = (Absence(**times, absence_class=kind, evidence="an answer", level=level),)
    return an_event(second, **values)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(tries(2, deep=12)))
async def test_counts_after_each_batch_equal_those_from_scratch(
    engine: AsyncEngine, database_url: str, seed: int
) -> None:
    rng = random.Random(seed)
    timeframes = ["1m", "5m", "4h", "1d", "1w", "1M", "3M"]
    events = [a_random_event(rng, rng.choice(timeframes), second) for second in range(120)]
    events += rng.sample(events, 40)
    rng.shuffle(events)
    seen = 0
    async with connected(database_url) as connection:
        while events:
            size = rng.choice((1, 2, 7))
            batch, events = events[:size], events[size:]
            await write(engine, *batch)
            seen += await assert_equal_from_scratch(connection)
    assert seen > 500


async def assert_equal_from_scratch(connection: asyncpg.Connection) -> int:
    """The number of rows that were compared."""
    stored = await connection.fetch(EVERYTHING)
    from_scratch = connection.transaction()
    await from_scratch.start()
    await connection.execute("DELETE FROM series_days")
    await connection.execute("DELETE FROM series_counts")
    series = [row["id"] for row in await connection.fetch("SELECT id FROM series ORDER BY id")]
    await write_days(connection, dict.fromkeys(series, ALL_TIME))
    counted = await connection.fetch(EVERYTHING)
    await from_scratch.rollback()
    assert stored == counted
    return len(stored)


# ---- single rules ----


async def test_a_period_belongs_to_the_day_in_which_it_opens(engine: AsyncEngine, database_url: str) -> None:
    await write(engine, an_event(verified=(span(-2, 22), span(26, 27), span(49, 50)), timeframe="1h"))
    assert await query(database_url, DAYS) == [("2026-11-22", 2, 0, 0), ("2026-11-23", 2 + 21, 0, 0),
                                               ("2026-11-24", 1, 0, 0)]  # fmt: skip
    assert await query(database_url, SUMS) == [(26, 0, 0)]
    await write(engine, an_event(1, absences=(an_absence(20, 25), an_absence(-4, -3)), timeframe="1h"))
    assert await query(database_url, DAYS) == [("2026-11-21", 0, 0, 1), ("2026-11-22", 2, 0, 2),
                                               ("2026-11-23", 23, 0, 1), ("2026-11-24", 1, 0, 0)]  # fmt: skip
    await write(engine, an_event(2, verified=(span(-5, 50),), timeframe="1h"))
    assert await query(database_url, DAYS) == []
    assert await query(database_url, SUMS) == [(0, 0, 0)]


async def test_only_silence_and_outages_are_whole(engine: AsyncEngine, database_url: str) -> None:
    kinds = (AbsenceClass.NO_TRADE, AbsenceClass.OUTAGE, AbsenceClass.DELISTED, AbsenceClass.UNKNOWN)
    absences = tuple(an_absence(1 + number, 2 + number, kind) for number, kind in enumerate(kinds))
    await write(engine, an_event(verified=(span(0, 1), span(5, 6)), absences=absences, timeframe="1h"))
    assert await query(database_url, DAYS) == [("2026-11-22", 4, 2, 3)]
    assert await query(database_url, SUMS) == [(4, 2, 3)]


async def test_time_before_a_proved_listing_has_no_counts(engine: AsyncEngine, database_url: str) -> None:
    listed = "SELECT listed_at, missing FROM series_counts"
    kind = AbsenceClass.BEFORE_LISTING
    absences = (an_absence(0, 30, kind), an_absence(31, 32, kind), an_absence(33, 34))
    await write(engine, an_event(verified=(span(30, 31), span(32, 33)), absences=absences, timeframe="1h"))
    assert await query(database_url, listed) == [(span(30, 31).start, timedelta(hours=3))]
    assert await query(database_url, DAYS) == [("2026-11-23", 1, 0, 2)], "only the first absence counts as such"
    lost = an_absence(0, 24, AbsenceClass.LOST_AT_SOURCE)
    await write(engine, an_event(1, absences=(lost,), timeframe="1h"))
    assert await query(database_url, listed) == [(None, timedelta(hours=33))], "the listing is not proved any more"
    assert await query(database_url, DAYS) == [("2026-11-22", 0, 0, 24), ("2026-11-23", 1, 0, 8)]


async def test_verified_time_from_before_the_listing_refutes_it(engine: AsyncEngine, database_url: str) -> None:
    absent = an_absence(0, 30, AbsenceClass.BEFORE_LISTING)
    await write(engine, an_event(absences=(absent,), timeframe="1h"))
    await write(engine, an_event(1, verified=(span(30, 31),), timeframe="1h"))
    assert await query(database_url, SUMS) == [(0, 0, 0)]
    await write(engine, an_event(2, verified=(span(-3, -2),), timeframe="1h"))
    assert await query(database_url, "SELECT listed_at FROM series_counts") == [(None,)]
    assert await query(database_url, DAYS) == [("2026-11-21", 2, 0, 0), ("2026-11-22", 24, 0, 24),
                                               ("2026-11-23", 6, 0, 6)]  # fmt: skip


async def test_counts_of_the_release_before_with_time_before_a_listing_are_found(
    engine: AsyncEngine, database_url: str
) -> None:
    absent = an_absence(0, 30, AbsenceClass.BEFORE_LISTING)
    await write(engine, an_event(verified=(span(30, 31),), absences=(absent,), timeframe="1h"))
    expected = await query(database_url, EVERYTHING)
    await query(database_url, "INSERT INTO series_days VALUES (1, '2026-11-22', 0, 0, 24), (1, '2026-11-23', 0, 0, 6)")
    await query(database_url, "UPDATE series_counts SET answered = 30, missing = '30 hours', listed_at = NULL")
    await recount_outdated(engine, lambda _: None)
    assert await query(database_url, EVERYTHING) == expected


async def test_a_month_counts_on_its_first_day(engine: AsyncEngine, database_url: str) -> None:
    edges = [shift("1M", floor_open("1M", MIDNIGHT), number) for number in range(-5, 1)]
    spans = (span_of((edges[0], edges[1])), span_of((edges[3], edges[5])))
    await write(engine, an_event(verified=spans, timeframe="1M"))
    assert await query(database_url, DAYS) == [("2026-07-01", 1, 0, 0), ("2026-08-01", 1, 0, 0)]


async def test_a_batch_that_extends_a_series_without_holes_writes_no_counts(
    engine: AsyncEngine, database_url: str
) -> None:
    await write(engine, an_event(verified=(span(0, 1),)))
    assert await query(database_url, SUMS) == [(0, 0, 0)]
    with mock.patch("candle_writer.ledger_tables.write_days", side_effect=AssertionError):
        await write(engine, an_event(1, verified=(span(1, 2),)), an_event(2, verified=(span(-1, 1),)))
    with (
        mock.patch("candle_writer.ledger_tables.write_days", side_effect=AssertionError),
        pytest.raises(AssertionError),
    ):
        await write(engine, an_event(3, verified=(span(3, 4),)))


async def test_a_batch_far_from_an_old_hole_writes_no_counts(engine: AsyncEngine, database_url: str) -> None:
    await write(engine, an_event(verified=(span(0, 1), span(2, 3))))
    with mock.patch("candle_writer.ledger_tables.write_days", side_effect=AssertionError):
        await write(engine, an_event(1, verified=(span(3, 4),)))
    assert await query(database_url, DAYS) == [("2026-11-22", 60, 0, 0)]


async def test_candles_that_open_at_another_time_of_the_day_count_all_days_again(
    engine: AsyncEngine, database_url: str
) -> None:
    holes = (span(0, 24), span(72, 96))
    await write(engine, an_event(verified=holes, rows=(Candle(MIDNIGHT, 1, 2, 0.5, 1, 1),), timeframe="1d"))
    assert await query(database_url, DAYS) == [("2026-11-23", 1, 0, 0), ("2026-11-24", 1, 0, 0)]
    later = Candle(MIDNIGHT + 5 * DAY_MS + 8 * HOUR_MS, 1, 2, 0.5, 1, 1)
    await write(engine, an_event(1, rows=(later,), timeframe="1d"))
    async with connected(database_url) as connection:
        assert await assert_equal_from_scratch(connection) == 6
    # The periods of 8:00 are: 22 (partly verified), 23, 24, 25 (partly verified) and 26. That of 27 is verified.
    assert [row[0][-2:] for row in await query(database_url, DAYS)] == ["22", "23", "24", "25", "26"]


async def test_candles_ledger_and_counts_are_stored_together_or_not_at_all(
    engine: AsyncEngine, database_url: str
) -> None:
    await write(engine, an_event(verified=(span(0, 1),)))
    before = await query(database_url, EVERYTHING)
    with mock.patch("candle_writer.ledger_tables.write_days", side_effect=OSError), pytest.raises(OSError):  # noqa: PT011
        await write(engine, an_event(1, verified=(span(5, 6),), rows=(Candle(MIDNIGHT, 1, 2, 0.5, 1, 1),)))
    assert await query(database_url, EVERYTHING) == before
    assert await query(database_url, "SELECT upper(verified) - lower(verified) FROM coverage") == [
        (timedelta(hours=1),)
    ]
    assert await query(database_url, "SELECT count(*) FROM candles") == [(0,)]


# ---- ledgers of the release before ----


async def a_stored_ledger(engine: AsyncEngine) -> None:
    await write(engine, an_event(verified=(span(0, 1), span(2, 30))))
    await write(engine, an_event(absences=(an_absence(0, 1),), symbol="A/USDT"))
    await write(engine, an_event(verified=(span(0, 1),), absences=(an_absence(-60, -50),), symbol="B/USDT"))


async def test_stored_ledgers_are_counted_in_the_background(engine: AsyncEngine, database_url: str) -> None:
    await a_stored_ledger(engine)
    expected = await query(database_url, EVERYTHING)
    await query(database_url, "TRUNCATE series_days, series_counts")
    counted: list[float] = []
    await recount_outdated(engine, counted.append)
    assert sum(counted) == 3
    assert await query(database_url, EVERYTHING) == expected
    await recount_outdated(engine, counted.append)
    assert sum(counted) == 3, "nothing differs any more"


async def test_names_of_the_release_before_count_as_those_of_now(engine: AsyncEngine, database_url: str) -> None:
    await a_stored_ledger(engine)
    expected = await query(database_url, EVERYTHING)
    await query(database_url, "UPDATE absences SET absence_class = 'lost'")
    await query(database_url, "TRUNCATE series_days, series_counts")
    await recount_outdated(engine, lambda _: None)
    assert await query(database_url, EVERYTHING) == expected


async def test_changes_by_the_release_before_are_found(engine: AsyncEngine, database_url: str) -> None:
    """It changes the ledger without the counts until its last instance has been replaced."""
    await a_stored_ledger(engine)
    await query(database_url, "UPDATE coverage SET verified = verified + '{[2026-11-24, 2026-11-25)}'")
    await query(database_url, "UPDATE absences SET ends_at = ends_at + interval '1 hour' WHERE series_id = 2")
    counted: list[float] = []
    await recount_outdated(engine, counted.append)
    assert sum(counted) == 3
    async with connected(database_url) as connection:
        await assert_equal_from_scratch(connection)
        assert await connection.fetchval("SELECT sum(unverified) FROM series_days WHERE series_id = 3") == 47 * 60


async def test_ledgers_that_people_deleted_are_found(engine: AsyncEngine, database_url: str) -> None:
    await a_stored_ledger(engine)
    await query(database_url, "TRUNCATE coverage, absences")
    await recount_outdated(engine, lambda _: None)
    assert await query(database_url, DAYS) == []
    assert await query(database_url, SUMS) == [(0, 0, 0)] * 3


async def test_a_search_waits_for_no_batch(engine: AsyncEngine, database_url: str) -> None:
    await a_stored_ledger(engine)
    await query(database_url, "TRUNCATE series_days, series_counts")
    counted: list[float] = []
    async with driver_transaction(engine) as connection:
        await connection.execute("SELECT FROM series WHERE id = 1 FOR NO KEY UPDATE")
        await recount_outdated(engine, counted.append)
    assert sum(counted) == 2
    await recount_outdated(engine, counted.append)
    assert sum(counted) == 3
