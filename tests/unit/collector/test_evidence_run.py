"""The parts of a run for evidence that decide without I/O."""

import itertools

from collector.candles.pages import SeriesCalendar
from collector.evidence.gather import MAX_PERIODS
from collector.evidence.other_symbols import other_symbols
from collector.exchange.status_statements import LONGEST_GAP_MS, STATUS_AGE_MS, StatusStatement, StatusStatements
from collector.exchange.traits import ExchangeTraits
from collector.run.evidence_run import pieces
from collector.run.status_watch import lacks_recent_candles
from contracts.spans import Intervals
from support.made_exchange import MINUTE, START, minute


def closed_after(*statements: tuple[int, bool]) -> Intervals:
    known = StatusStatements()
    for at, closed in statements:
        known.add(StatusStatement(at, "word", closed))
    return known.closed()


def test_an_exchange_is_closed_between_two_near_statements_only() -> None:
    assert closed_after((0, True)) == ()
    assert closed_after((0, True), (5, True), (9, True)) == ((0, 9),)
    assert closed_after((0, True), (5, False), (9, True)) == ()
    assert closed_after((0, True), (LONGEST_GAP_MS + 1, True)) == ()
    assert closed_after((5, True), (0, True)) == ((0, 5),)


def test_other_symbols_are_busy_pairs_of_the_same_kind() -> None:
    spot = ["BTC/USDT", "ETH/USDT", "ETH/EUR", "BTC/EUR", "ABC/EUR", "BTC/USDT:USDT"]
    assert other_symbols("ABC/EUR", spot) == ("BTC/EUR", "ETH/EUR", "BTC/USDT")
    assert other_symbols("BTC/USDT", spot) == ("ETH/USDT", "BTC/EUR", "ETH/EUR")
    assert other_symbols("XYZ/USDT:USDT", spot) == ("BTC/USDT:USDT",)
    assert other_symbols("ABC/EUR", ["ABC/EUR"]) == ()


def test_pieces_are_closed_periods_that_cover_the_span_once() -> None:
    calendar = SeriesCalendar.of(ExchangeTraits(), "1m")
    found = list(pieces((START, minute(200)), calendar, minute(190) + 1))
    assert [found[0][0], found[-1][1]] == [START, minute(190)]
    assert all(one[1] == two[0] for one, two in itertools.pairwise(found))
    assert max(end - start for start, end in found) == MAX_PERIODS * MINUTE
    assert list(pieces((minute(5), minute(9)), calendar, minute(3))) == []


def test_the_status_is_due_once_a_minute() -> None:
    known = StatusStatements()
    assert [known.start_request(at) for at in (0, STATUS_AGE_MS - 1, STATUS_AGE_MS, 0)] == [True, False, True, True]


def test_candles_are_missing_when_the_next_one_has_ended_more_than_two_minutes_ago() -> None:
    assert lacks_recent_candles("1m", None, minute(0))
    assert not lacks_recent_candles("1m", minute(0), minute(4))
    assert lacks_recent_candles("1m", minute(0), minute(4) + 1)
    assert not lacks_recent_candles("1h", minute(0), minute(120))
