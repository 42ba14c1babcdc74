"""The single rules of the stored ledger."""

import random

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from candle_writer.ledger import Claims
from candle_writer.ledger_tables import write_ledger
from candle_writer.series import SeriesIds
from candle_writer.write import Outcome, write_candles
from contracts.candles import CandlesCollected
from contracts.coverage import Absence, AbsenceClass, Evidence, EvidenceKind, RejectedRow
from runtime.database import driver_transaction
from support.fetches import MINUTE_MS, NOON, NOON_MS, a_candle, a_fetch
from support.ledger_disagreements import DISAGREEMENTS
from support.ledger_events import ABSENCES, MINUTE, VERIFIED, an_absence, span, times, without_rows
from support.writers import query

pytestmark = pytest.mark.postgres
MAX_BYTES = 200
"""Size of the ledger per series without outages, with indexes."""
WINDOW, MAX_BATCHES = 12, 100


async def test_an_event_without_rows_creates_its_series_and_its_ledger(engine: AsyncEngine, database_url: str) -> None:
    event = without_rows(verified=(span(0, 5),), absences=(an_absence(5, 7),))
    assert await write_candles(engine, SeriesIds(engine), [event]) == Outcome()
    assert await query(database_url, "SELECT symbol, candle_count, first_open FROM series") == [("BTC/USDT", 0, None)]
    assert await query(database_url, VERIFIED) == times((0, 5))
    assert await query(database_url, ABSENCES) == [(*times((5, 7))[0], "unread")]


async def test_a_row_that_its_event_does_not_vouch_for_verifies_its_own_slot(
    engine: AsyncEngine, database_url: str
) -> None:
    rows = [a_candle(minute) for minute in (0, 1, 2, 10, 12, 13)]
    await write_candles(engine, SeriesIds(engine), [a_fetch(*rows, verified=(span(0, 3), span(9, 11)))])
    assert await query(database_url, VERIFIED) == times((0, 3), (9, 11), (12, 14))


async def test_rows_of_version_1_verify_their_own_slots(engine: AsyncEngine, database_url: str) -> None:
    event = a_fetch(*map(a_candle, (0, 1, 5)), schema_version=1)
    await write_candles(engine, SeriesIds(engine), [event])
    assert await query(database_url, VERIFIED) == times((0, 2), (5, 6))


async def test_verified_time_removes_absences_and_the_rest_of_them_stays(
    engine: AsyncEngine, database_url: str
) -> None:
    series = SeriesIds(engine)
    await write_candles(engine, series, [without_rows(absences=(an_absence(0, 9), an_absence(20, 22)))])
    await write_candles(engine, series, [without_rows(second=1, verified=(span(3, 5), span(19, 23)))])
    assert await query(database_url, ABSENCES) == [(*pair, "unread") for pair in times((0, 3), (5, 9))]
    await write_candles(
        engine, series, [without_rows(second=2, absences=(an_absence(4, 21, AbsenceClass.BEYOND_HORIZON),))]
    )
    kinds = (
        "unread",
        "beyond_horizon",
        "beyond_horizon",
    )  # two spans of the class beyond_horizon, because one of them was seen earlier
    assert await query(database_url, ABSENCES) == [
        (*pair, kind) for pair, kind in zip(times((0, 3), (5, 9), (9, 19)), kinds, strict=True)
    ]


async def test_of_two_checks_the_latest_counts_and_the_first_is_remembered(
    engine: AsyncEngine, database_url: str
) -> None:
    series = SeriesIds(engine)
    late = without_rows(second=9, absences=(an_absence(0, 5, AbsenceClass.UNKNOWN, "empty answer"),))
    early = without_rows(second=1, absences=(an_absence(0, 5),))
    for event in (late, early, late):
        await write_candles(engine, series, [event])
    found = await query(
        database_url, "SELECT absence_class, evidence, first_seen, last_checked, run_id::text FROM absences"
    )
    assert found == [("unknown", "empty answer", early.fetched_at, late.fetched_at, str(late.run_id))]


async def test_rows_of_earlier_releases_are_read_and_get_the_new_names_when_they_change(
    engine: AsyncEngine, database_url: str
) -> None:
    series = SeriesIds(engine)
    await write_candles(engine, series, [without_rows(absences=(an_absence(0, 5), an_absence(10, 15)))])
    for start, name in ((0, "unproven"), (10, "lost")):
        await query(
            database_url, f"UPDATE absences SET absence_class = '{name}' WHERE starts_at = $1", times((start, 1))[0][0]
        )
    await write_candles(engine, series, [without_rows(second=1, verified=(span(4, 11),))])
    kinds = ("unknown", "beyond_horizon")
    assert await query(database_url, ABSENCES) == [
        (*pair, kind) for pair, kind in zip(times((0, 4), (11, 15)), kinds, strict=True)
    ]


async def test_later_checks_without_evidence_do_not_replace_a_proof(engine: AsyncEngine, database_url: str) -> None:
    series = SeriesIds(engine)
    proof = Evidence(
        level=5,
        kind=EvidenceKind.TRADE_IDS,
        asked="trades from 12:00",
        answered="ids 7 and 8",
        at=a_fetch(a_candle()).fetched_at,
    )
    values = an_absence(0, 5, AbsenceClass.UNKNOWN).model_dump()
    proved = Absence(**values | {"absence_class": AbsenceClass.NO_TRADE, "level": 5, "proof": (proof,)})
    later = [without_rows(second=each, absences=(an_absence(0, 5),)) for each in (7, 9)]
    for event in (later[0], without_rows(second=8, absences=(proved,)), later[1]):
        await write_candles(engine, series, [event])
    stored = "SELECT absence_class, level, proof->0->>'answered', recheck_at FROM absences"
    assert await query(database_url, stored) == [("no_trade", 5, "ids 7 and 8", None)]
    await write_candles(engine, series, [without_rows(second=3, verified=(span(0, 5),))])
    assert await query(database_url, stored) == []


async def test_a_ledger_that_does_not_change_is_not_written(engine: AsyncEngine, database_url: str) -> None:
    event = a_fetch(
        *map(a_candle, range(5)),
        verified=(span(0, 5),),
        absences=(an_absence(5, 9),),
        rejected=(RejectedRow(open_time=NOON, reason="high below low", row="[]"),),
    )
    versions = (
        "SELECT 'coverage', ctid::text, xmin::text FROM coverage UNION SELECT 'absences', ctid::text, xmin::text "
    )
    versions += "FROM absences UNION SELECT 'rejected', ctid::text, xmin::text FROM rejected_candles "
    versions += "UNION SELECT 'counts', ctid::text, xmin::text FROM series_counts ORDER BY 1"
    await write_candles(engine, SeriesIds(engine), [event])
    before = await query(database_url, versions)
    await write_candles(engine, SeriesIds(engine), [event, event])
    assert await query(database_url, versions) == before
    assert len(before) == 4


async def test_the_ledger_of_a_series_without_outages_stays_small_however_many_batches_extend_it(
    engine: AsyncEngine, database_url: str
) -> None:
    """No vacuum runs meanwhile: Postgres reuses the space of old versions of the rows on their pages.

    It cannot reuse the versions that an open snapshot still sees, for example that of an automatic ANALYZE of
    another table, nor those of a page that another process reads. Such a batch takes new space, and the batches
    after it reuse that. Without any reuse, a dozen batches take five times the first size.
    """
    await query(database_url, "ALTER TABLE coverage SET (autovacuum_enabled = false)")
    await query(database_url, "ALTER TABLE series SET (autovacuum_enabled = false)")
    await query(database_url, "ALTER TABLE series_counts SET (autovacuum_enabled = false)")
    await query(database_url, "INSERT INTO series (exchange, symbol, timeframe) SELECT 'a', n, '1m' FROM "
                              "generate_series(1, 12000) AS n")  # fmt: skip
    series = [row[0] for row in await query(database_url, "SELECT id FROM series")]
    size = "SELECT pg_total_relation_size('coverage') + pg_total_relation_size('absences')"
    sizes: list[float] = []
    for batch in range(MAX_BATCHES):
        claims = Claims(((NOON_MS, NOON_MS + batch * MINUTE_MS + MINUTE_MS),), [], [])
        async with driver_transaction(engine) as connection:
            await write_ledger(connection, dict.fromkeys(series, claims))
        sizes.append((await query(database_url, size))[0][0] / len(series))
        if len(sizes) > WINDOW and sizes[-1] < 1.1 * sizes[-WINDOW]:
            break
    assert await query(database_url, VERIFIED + " DESC LIMIT 1") == times((0, len(sizes)))
    assert sizes[1] < MAX_BYTES
    assert len(sizes) < MAX_BATCHES, sizes


async def test_candles_that_the_release_before_stored_are_added(engine: AsyncEngine, database_url: str) -> None:
    """It stores candles without a ledger until its last instance has been replaced."""
    series = SeriesIds(engine)
    await write_candles(engine, series, [a_fetch(*map(a_candle, range(3)), verified=(span(0, 3),))])
    await write_candles(engine, series, [a_fetch(symbol="ETH/USDT"), without_rows(absences=(an_absence(2, 9),))])
    await query(
        database_url,
        "INSERT INTO candles SELECT series.id, $1::timestamptz + n * interval '1 minute', 1, 2, 0.5, 1.5, 10, $1 "
        "FROM series, generate_series(3, 5) AS n WHERE symbol = 'BTC/USDT'",
        NOON,
    )
    await query(database_url, "UPDATE series SET last_open = $1, candle_count = 6 WHERE id = 1", NOON + 5 * MINUTE)
    await query(database_url, "DELETE FROM coverage WHERE series_id = 2")  # as if it had created this series
    await write_candles(
        engine,
        series,
        [a_fetch(a_candle(8), verified=(span(8, 9),)), a_fetch(a_candle(1), symbol="ETH/USDT", schema_version=1)],
    )
    verified = "SELECT lower(span), upper(span) FROM coverage, unnest(verified) AS span WHERE series_id = $1 ORDER BY 1"
    assert await query(database_url, verified, 1) == times((0, 6), (8, 9))
    assert await query(database_url, verified, 2) == times((0, 2))
    assert await query(database_url, ABSENCES) == [(*times((6, 8))[0], "unread")]
    assert await query(database_url, DISAGREEMENTS) == []


async def test_the_ledger_knows_the_time_that_only_trades_vouch_for(engine: AsyncEngine, database_url: str) -> None:
    """It equals a computation slot by slot, in any order and any division into batches."""
    rng = random.Random(7)
    from_trades = "SELECT lower(span), upper(span) FROM coverage, unnest(from_trades) AS span ORDER BY 1"
    for _ in range(30):
        await query(database_url, "TRUNCATE series CASCADE")
        series, own, built = SeriesIds(engine), set(), set()
        batch: list[CandlesCollected] = []
        for _ in range(rng.randint(1, 8)):
            first = rng.randint(0, 15)
            claimed = range(first, first + rng.randint(1, 6))
            source = rng.choice(["exchange", "trades"])
            (own if source == "exchange" else built).update(claimed)
            batch.append(without_rows(verified=[span(claimed[0], claimed[-1] + 1)], source=source))
            if rng.random() < 0.5:
                await write_candles(engine, series, batch)
                batch = []
        await write_candles(engine, series, batch)
        minutes = [
            minute
            for start, end in await query(database_url, from_trades)
            for minute in range((start - NOON) // MINUTE, (end - NOON) // MINUTE)
        ]
        assert minutes == sorted(built - own)
