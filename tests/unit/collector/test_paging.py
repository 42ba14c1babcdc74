"""The paging rules with a fake exchange: they read exactly the closed candles of the window, each once."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.candles.paging import (
    BrokenContinuity,
    PageRequest,
    check_continuity,
    covered_until,
    first_request,
    next_request,
    oldest_available,
)
from collector.exchange.traits import traits_of
from contracts.timeframes import close_of, floor_open, shift

NOW = 1_791_282_309_123
MINUTE = 60_000


@dataclass(frozen=True)
class FakeExchange:
    opens: tuple[int, ...]
    """All candles that exist, ascending; the open one may be among them."""
    cap: int
    """The maximum number of rows per response, even if more are requested."""
    limited_range: bool
    """It searches only the next `limit` candle widths, as Coinbase does. Otherwise it sends the first `limit` candles
    after `since`, as Binance does."""

    def opens_for(self, request: PageRequest) -> tuple[int, ...]:
        found = [at for at in self.opens if at >= request.since]
        if self.limited_range:
            found = [at for at in found if at < shift(request.timeframe, request.since, request.limit)]
        return tuple(found[: min(request.limit, self.cap)])


def read_all(exchange: FakeExchange, request: PageRequest | None, now: int = NOW) -> tuple[list[int], int]:
    """The closed candles in order of arrival, each once, and the number of pages."""
    candles: list[int] = []
    last_open, pages = None, 0
    while request is not None:
        pages += 1
        assert pages <= 1000, "the reading does not end"
        opens = exchange.opens_for(request)
        check_continuity(request, opens, last_open)
        candles += [at for at in opens if close_of(request.timeframe, at) <= now and (not candles or at > candles[-1])]
        last_open = opens[-1] if opens else last_open
        request = next_request(request, opens, now)
    return candles, pages


@st.composite
def worlds(draw: st.DrawFn) -> tuple[FakeExchange, PageRequest]:
    timeframe = draw(st.sampled_from(["1m", "1h", "1d", "1w", "1M"]))
    limit = draw(st.integers(1, 12))
    back = draw(st.integers(0, 60))
    history = [
        shift(timeframe, floor_open(timeframe, NOW), -index) for index in range(draw(st.integers(0, 80)), -1, -1)
    ]
    empty = draw(st.sets(st.sampled_from(history), max_size=len(history)))
    if draw(st.booleans()):
        empty |= {history[-1]}  # the exchange does not send the open candle
    limited_range = draw(st.booleans())
    exact = draw(st.booleans())
    # Without an exact limit, the exchange may send fewer rows than requested.
    cap = limit if exact or limited_range else draw(st.integers(min(2, limit), limit))
    exchange = FakeExchange(tuple(at for at in history if at not in empty), cap, limited_range)
    start = shift(timeframe, floor_open(timeframe, NOW), -back) + draw(st.integers(0, MINUTE - 1))
    first = first_request(traits_of("coinbase" if exact else "other"), timeframe, start, NOW, limit)
    return exchange, first


@settings(max_examples=500)
@given(worlds())
def test_any_window_is_read_completely_and_each_candle_once(world: tuple[FakeExchange, PageRequest]) -> None:
    exchange, first = world
    candles, _ = read_all(exchange, first)
    assert candles == [at for at in exchange.opens if at >= first.since and close_of(first.timeframe, at) <= NOW]


@given(st.integers(2, 1000), st.sampled_from(["1m", "1h", "1d", "1w", "1M"]))
def test_a_first_run_is_one_full_page_that_ends_with_the_open_candle(limit: int, timeframe: str) -> None:
    opening = floor_open(timeframe, NOW)
    exchange = FakeExchange(
        tuple(shift(timeframe, opening, -index) for index in range(limit * 2, -1, -1)), limit, False
    )
    candles, pages = read_all(exchange, first_request(traits_of("binance"), timeframe, None, NOW, limit))
    assert (len(candles), pages) == (limit - 1, 1)
    assert close_of(timeframe, candles[-1]) == opening


def minutes(*back: int) -> tuple[int, ...]:
    return tuple(floor_open("1m", NOW) - index * MINUTE for index in back)


@pytest.mark.parametrize("newest", [0, 1])
def test_a_usual_run_needs_one_request(newest: int) -> None:
    exchange = FakeExchange(minutes(*range(100, newest - 1, -1)), 1000, False)
    candles, pages = read_all(exchange, first_request(traits_of("binance"), "1m", NOW - 5 * MINUTE, NOW, 1000))
    assert (candles, pages) == (list(minutes(6, 5, 4, 3, 2, 1)), 1)


def test_missing_candles_at_the_end_need_a_second_request_only_if_the_limit_is_not_exact() -> None:
    without_recent_candles = FakeExchange(minutes(*range(100, 3, -1)), 300, True)
    for exchange, requests in (("coinbase", 1), ("other", 2)):
        candles, pages = read_all(
            without_recent_candles, first_request(traits_of(exchange), "1m", NOW - 5 * MINUTE, NOW, 300)
        )
        assert (candles, pages) == (list(minutes(6, 5, 4)), requests)


def test_a_gap_longer_than_a_page_is_skipped() -> None:
    exchange = FakeExchange(minutes(*range(40, 35, -1), *range(10, -1, -1)), 5, True)
    candles, _ = read_all(exchange, first_request(traits_of("coinbase"), "1m", NOW - 39 * MINUTE, NOW, 5))
    assert candles == list(minutes(*range(40, 35, -1), *range(10, 0, -1)))


def test_a_window_in_the_future_of_the_exchange_begins_at_its_present() -> None:
    assert first_request(traits_of("binance"), "1m", NOW + 86_400_000, NOW, 10).since == minutes(1)[0]


def test_a_page_that_begins_too_late_is_an_error() -> None:
    request = PageRequest("1m", minutes(30)[0], 10)
    with pytest.raises(BrokenContinuity):
        check_continuity(request, minutes(20, 19), last_open=request.since)
    with pytest.raises(BrokenContinuity):
        check_continuity(request, (), last_open=request.since)


def test_a_page_may_begin_with_the_last_candle_or_the_next_one() -> None:
    request = PageRequest("1m", minutes(30)[0], 10)
    check_continuity(request, minutes(30, 29), last_open=request.since)
    check_continuity(request, minutes(29, 28), last_open=request.since)
    check_continuity(request, minutes(20), last_open=minutes(31)[0])  # a gap was skipped: no candle is known there
    check_continuity(request, (), last_open=None)


def test_candles_that_kraken_no_longer_has_are_detected_and_the_reading_ends() -> None:
    with_720_candles = FakeExchange(minutes(*range(719, -1, -1)), 720, False)
    request = first_request(traits_of("kraken"), "1m", NOW - 1000 * MINUTE, NOW, 720)
    opens = with_720_candles.opens_for(request)
    assert oldest_available(traits_of("kraken"), request, opens, NOW) == minutes(719)[0]
    assert read_all(with_720_candles, request)[0] == list(minutes(*range(719, 0, -1)))


def test_within_the_history_of_kraken_and_on_other_exchanges_no_candle_is_missing() -> None:
    request = PageRequest("1m", minutes(700)[0], 720)
    assert oldest_available(traits_of("kraken"), request, minutes(699, 698), NOW) is None
    assert oldest_available(traits_of("kraken"), request, minutes(700, 699), NOW) is None
    older = PageRequest("1m", minutes(900)[0], 720)
    assert oldest_available(traits_of("binance"), older, minutes(700), NOW) is None


A_WEEK = {
    timeframe: FakeExchange(
        tuple(shift(timeframe, floor_open(timeframe, NOW), -index) for index in range(count, -1, -1)), 1000, False
    )
    for timeframe, count in (("5m", 100), ("1h", 100), ("1d", 7))
}


@given(st.lists(st.integers(0, 5_000_000), min_size=2, max_size=6).map(sorted))
def test_consecutive_windows_lose_no_candle_and_repeat_few(instants: list[int]) -> None:
    start = NOW - 5_000_000
    seen: dict[str, set[int]] = {timeframe: set() for timeframe in A_WEEK}
    window = start
    for now in (start + instant for instant in instants):
        for timeframe, exchange in A_WEEK.items():
            existing = FakeExchange(tuple(at for at in exchange.opens if at <= now), exchange.cap, False)
            candles, _ = read_all(existing, first_request(traits_of("binance"), timeframe, window, now, 1000), now)
            assert len(candles) <= (now - window) // (5 * MINUTE) + 3, "more was read again than the overlap"
            seen[timeframe] |= set(candles)
        window = covered_until(dict.fromkeys(A_WEEK, now))
        assert now - 5 * MINUTE < window <= now
    for timeframe, exchange in A_WEEK.items():
        expected = {
            at
            for at in exchange.opens
            if at >= floor_open(timeframe, start) and close_of(timeframe, at) <= start + instants[-1]
        }
        assert expected <= seen[timeframe]


def test_the_earliest_timeframe_decides_until_when_a_run_has_covered() -> None:
    assert covered_until({"1m": NOW, "1h": NOW - 2 * MINUTE}) == minutes(2)[0]
