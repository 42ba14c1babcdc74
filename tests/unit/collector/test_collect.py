"""The candles, the spans and the result of one run."""

from datetime import UTC, datetime, timedelta

import pytest

from collector.candles.page_requests import ReadingLimits
from collector.candles.pages import Page, SeriesCalendar
from collector.candles.unfinished_rows import without_unfinished_row
from collector.exchange.traits_table import traits_of
from collector.run.run import Run
from contracts.candles import Candle, CandlesCollected
from contracts.coverage import AbsenceClass, EvidenceKind, Span, to_instant, to_milliseconds
from contracts.runs import RunStarted
from contracts.vocabulary import RunStatus
from scheduler.progress import Series, after_result
from support.fake_collector_runs import (
    MINUTE,
    NOW,
    NOW_MS,
    OPENING,
    FakeExchange,
    FakeKafka,
    a_tick,
    collector_of,
    minutes_since,
    run,
)


async def test_a_run_reports_its_start_its_candles_and_its_end() -> None:
    kafka = FakeKafka()
    finished = await run(FakeExchange(), kafka)
    [started], [candles] = kafka.of(RunStarted), kafka.of(CandlesCollected)
    assert (started.run_id, started.deadline_at, started.collector) == (
        finished.run_id,
        NOW + timedelta(seconds=20),
        "here:1",
    )
    assert (finished.status, finished.records_collected) == (RunStatus.SUCCESS, 9)
    assert [candle.open_ms for candle in candles.rows] == [OPENING - n * MINUTE for n in range(9, 0, -1)]
    assert (candles.run_id, candles.fetched_at) == (finished.run_id, NOW)
    [result] = finished.results
    assert (result.candles, result.pages) == (9, 1)
    assert (result.first_open, result.last_open) == (NOW.replace(second=0, minute=51, hour=11), candles_end(candles))
    whole = (Span(start=NOW.replace(second=0, minute=51, hour=11), end=NOW.replace(second=0)),)
    assert (result.verified, candles.verified) == (whole, whole)


async def test_a_first_run_that_sees_only_the_open_candle_says_so_and_the_next_one_reads_on_from_it() -> None:
    exchange = FakeExchange(rows_for=lambda _timeframe, _since, _limit: minutes_since(OPENING, 1))
    [result] = (await run(exchange, FakeKafka())).results
    assert (result.candles, result.anchor) == (0, to_instant(OPENING))
    assert result.notes == ("no candle of the newest page has closed yet: the next run reads on from its first candle",)
    series = after_result(Series(), result, finished_at=NOW_MS, now=NOW_MS, interval_ms=MINUTE)
    assert series == Series(OPENING), "all time from the anchor on is read again"


@pytest.mark.parametrize("is_silent", [True, False])
async def test_the_remark_about_a_silent_market_is_in_the_result(is_silent: bool) -> None:
    exchange = FakeExchange(remark_if_silent="binance lists MATIC/USDT as not active")
    if is_silent:
        exchange.rows_for = lambda _timeframe, _since, _limit: []
    finished = await run(exchange, FakeKafka())
    assert finished.status is RunStatus.SUCCESS
    assert finished.results[0].notes == (("binance lists MATIC/USDT as not active",) if is_silent else ())


async def test_rows_that_an_exchange_invents_after_a_delisting_are_no_candles() -> None:
    """The last rows are flat and without volume. The market is not traded for five minutes."""

    def rows(_timeframe: str, since: int, limit: int) -> list[list[float]]:
        found = minutes_since(since, limit)
        return [[row[0], 2, 2, 2, 2, 0] if row[0] >= OPENING - 8 * MINUTE else row for row in found]

    kafka = FakeKafka()
    since = to_instant(OPENING - 5 * MINUTE)
    finished = await run(FakeExchange(rows, inactive_since=since), kafka, collected_until=NOW - timedelta(minutes=30))
    events = kafka.of(CandlesCollected)
    assert max(row.open_ms for event in events for row in event.rows) == OPENING - 6 * MINUTE
    assert max(to_milliseconds(span.end) for event in events for span in event.verified) == OPENING - 5 * MINUTE
    [absence] = [each for event in events for each in event.absences]
    assert (absence.absence_class, absence.level) == (AbsenceClass.DELISTED, 3)
    assert absence.milliseconds() == (OPENING - 5 * MINUTE, OPENING)
    assert absence.proof[0].kind is EvidenceKind.MARKETS
    [result] = finished.results
    assert (finished.status, result.open_hole) == (RunStatus.SUCCESS, None)
    assert result.anchor is not None
    assert to_milliseconds(result.anchor) < OPENING - 5 * MINUTE


@pytest.mark.parametrize(("timeframe", "lag"), [("1m", 3), ("1m", 1), ("1h", 1)])
async def test_a_lagging_answer_does_not_replace_a_final_candle_by_an_unfinished_one(timeframe: str, lag: int) -> None:
    """In the second run the exchange has fewer candles, and half of the volume of its newest one."""
    exchange, kafka = FakeExchange(), FakeKafka()
    collector, step = collector_of(exchange, kafka), MINUTE if timeframe == "1m" else 60 * MINUTE
    opening = OPENING - OPENING % step
    finished = [[opening - n * step, 2, 3, 1, 2, 9] for n in range(8, 0, -1)]

    async def stored_by_a_run(rows: list[list[float]]) -> dict[int, float]:
        kafka.events.clear()
        exchange.rows_for = lambda *_: rows
        tick = a_tick(timeframes=(timeframe,), collected_until=NOW - timedelta(milliseconds=7 * step))
        await collector.collect(Run(tick, NOW))
        return {row.open_ms: row.volume for event in kafka.of(CandlesCollected) for row in event.rows}

    everything = dict.fromkeys((int(row[0]) for row in finished), 9.0)
    assert await stored_by_a_run([*finished, [opening, 2, 3, 1, 2, 1]]) == everything
    *final, newest = finished[: len(finished) - lag + 1]
    lagging = await stored_by_a_run([*final, [*newest[:5], 4.5]])
    assert newest[0] not in lagging
    assert lagging == {at: volume for at, volume in everything.items() if at < newest[0]}
    assert await stored_by_a_run(finished) == everything, "the same candle again, without the open one"


@pytest.mark.parametrize(
    ("rows", "published", "stored"),
    [
        (12, (11, 1.0), 12),  # the newest row is the newest candle
        (12, (11, 0.5), 12),  # the same, with more volume than before
        (12, (11, 1.5), 11),  # the same, with less volume
        (12, (10, 1.5), 12),  # there is a newer row than before
        (12, None, 12),  # the first run of this process
        (8, (11, 1.0), 7),  # the answer is older than the earlier one
        (3, (11, 1.0), 3),  # its newest row is older than the settle time: a page of the history
    ],
)
def test_the_newest_row_is_left_out_only_if_an_earlier_answer_shows_that_it_may_be_unfinished(
    rows: int, published: tuple[int, float] | None, stored: int
) -> None:
    calendar = SeriesCalendar.of(traits_of("binance"), "1m")
    candles = tuple(Candle(n * MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0) for n in range(rows))
    page = Page(tuple(candle.open_ms for candle in candles), candles)
    known = None if published is None else Candle(published[0] * MINUTE, 1.0, 1.0, 1.0, 1.0, published[1])
    found = without_unfinished_row(page, calendar, known, settled_at=5 * MINUTE)
    assert (found.opens, found.closed) == (page.opens, candles[:stored])


async def test_a_step_of_the_wall_clock_during_a_run_does_not_change_its_duration() -> None:
    """The run starts at NOW. When it ends, the wall clock of this process shows a very different time."""
    finished = await run(FakeExchange(), FakeKafka())
    assert timedelta(0) <= finished.finished_at - finished.started_at < timedelta(seconds=20)


def candles_end(candles: CandlesCollected) -> datetime:
    return datetime.fromtimestamp(candles.rows[-1].open_ms / 1000, UTC)


async def test_a_run_reads_from_its_anchor_to_now_and_publishes_each_candle_once() -> None:
    kafka = FakeKafka()
    finished = await run(FakeExchange(), kafka, collected_until=NOW - timedelta(minutes=30))
    opens = [candle.open_ms for event in kafka.of(CandlesCollected) for candle in event.rows]
    assert sorted(opens) == [OPENING - n * MINUTE for n in range(32, 0, -1)]
    [result] = finished.results
    assert finished.records_collected == 32
    assert result.verified == (Span(start=NOW.replace(second=0, minute=28, hour=11), end=NOW.replace(second=0)),)
    assert (result.open_hole, result.notes) == (None, ())
    assert result.requested == (Span(start=NOW.replace(second=0, minute=30, hour=11), end=result.requested[0].end),)


async def test_the_newest_page_is_read_first_and_the_rest_is_an_open_hole() -> None:
    kafka = FakeKafka()
    limits = ReadingLimits(max_pages=3)
    finished = await run(FakeExchange(), kafka, limits=limits, collected_until=NOW - timedelta(hours=5))
    [result] = finished.results
    assert finished.status is RunStatus.SUCCESS
    assert result.verified[-1].end == NOW.replace(second=0)
    assert result.open_hole is not None
    assert result.open_hole.end == result.verified[-1].start
    assert (result.open_hole.absence_class, result.pages) == (AbsenceClass.UNREAD, 3)
    [absence] = [absence for event in kafka.of(CandlesCollected) for absence in event.absences]
    assert absence == result.open_hole
    assert "not verified from 2026-11-22 07:00" in result.notes[-1]


async def test_an_unusable_answer_is_requested_again_and_not_stored() -> None:
    requests = []

    def rows_for(_timeframe: str, since: int, limit: int) -> list[list[float]]:
        requests.append(since)
        rows = minutes_since(since, limit)
        return rows if len(requests) > 2 else [[at, 1.0, 0.1, 0.5, 1.5, 9.0] for at, *_ in rows]  # high below low

    kafka = FakeKafka()
    finished = await run(FakeExchange(rows_for), kafka)
    assert (finished.status, len(requests), finished.records_collected) == (RunStatus.SUCCESS, 3, 9)


@pytest.mark.parametrize("settle_ms", [0, 600_000])
async def test_a_row_that_the_exchange_repeats_is_rejected_and_its_slot_is_an_open_hole(settle_ms: int) -> None:
    bad = OPENING - 5 * MINUTE
    anchor = OPENING - 8 * MINUTE

    def rows_for(_timeframe: str, since: int, limit: int) -> list[list[float]]:
        return [[*row[:2], 0.1 if row[0] == bad else row[2], *row[3:]] for row in minutes_since(since, limit)]

    kafka = FakeKafka()
    at = to_instant(anchor + MINUTE)
    finished = await run(FakeExchange(rows_for), kafka, limits=ReadingLimits(settle_ms=settle_ms), collected_until=at)
    [result] = finished.results
    assert finished.status is RunStatus.SUCCESS
    assert [row.open_time for row in result.rejected] == [to_instant(bad)]
    assert result.open_hole is not None
    assert (result.open_hole.start, result.open_hole.absence_class) == (to_instant(bad), AbsenceClass.REJECTED)
    assert [each for event in kafka.of(CandlesCollected) for each in event.absences] == [result.open_hole]
    assert [row.reason for event in kafka.of(CandlesCollected) for row in event.rejected] == [result.rejected[0].reason]
    assert bad not in {candle.open_ms for event in kafka.of(CandlesCollected) for candle in event.rows}


async def test_a_row_that_is_right_when_it_is_read_again_is_a_candle() -> None:
    requests = []

    def rows_for(_timeframe: str, since: int, limit: int) -> list[list[float]]:
        requests.append(since)
        rows = minutes_since(since, limit)
        if len(requests) == 1:
            rows[2][2] = 0.1  # high below low
        return rows

    kafka = FakeKafka()
    finished = await run(FakeExchange(rows_for), kafka)
    assert (finished.results[0].rejected, finished.records_collected, len(requests)) == ((), 9, 2)
    assert len(finished.results[0].verified) == 1
