"""The paging rules against a pure exchange of any temper: exactly the closed candles of the window come out, once."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.candles.paging import (
    BrokenContinuity,
    Step,
    beyond_horizon,
    check_continuity,
    covered_until,
    first_step,
    next_step,
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
    """Rows per answer, whatever is asked for."""
    ahead_only: bool
    """Looks only `limit` candle widths ahead, as Coinbase does; else sends the first that exist, as Binance does."""

    def answer(self, step: Step) -> tuple[int, ...]:
        found = [at for at in self.opens if at >= step.since]
        if self.ahead_only:
            found = [at for at in found if at < shift(step.timeframe, step.since, step.limit)]
        return tuple(found[: min(step.limit, self.cap)])


def read_all(exchange: FakeExchange, step: Step | None, now: int = NOW) -> tuple[list[int], int]:
    """The closed candles in the order of their coming, new ones of each page only, and the number of pages."""
    kept: list[int] = []
    known, pages = None, 0
    while step is not None:
        pages += 1
        assert pages <= 1000, "it does not end"
        opens = exchange.answer(step)
        check_continuity(step, opens, known)
        kept += [at for at in opens if close_of(step.timeframe, at) <= now and (not kept or at > kept[-1])]
        known = opens[-1] if opens else known
        step = next_step(step, opens, now)
    return kept, pages


@st.composite
def worlds(draw: st.DrawFn) -> tuple[FakeExchange, Step]:
    timeframe = draw(st.sampled_from(["1m", "1h", "1d", "1w", "1M"]))
    limit = draw(st.integers(1, 12))
    back = draw(st.integers(0, 60))
    history = [
        shift(timeframe, floor_open(timeframe, NOW), -index) for index in range(draw(st.integers(0, 80)), -1, -1)
    ]
    silent = draw(st.sets(st.sampled_from(history), max_size=len(history)))
    if draw(st.booleans()):
        silent |= {history[-1]}  # an exchange that does not send the open candle
    ahead_only = draw(st.booleans())
    sure = draw(st.booleans())
    # One that is sure gives what it says; others may have a smaller page than they say.
    cap = limit if sure or ahead_only else draw(st.integers(min(2, limit), limit))
    exchange = FakeExchange(tuple(at for at in history if at not in silent), cap, ahead_only)
    start = shift(timeframe, floor_open(timeframe, NOW), -back) + draw(st.integers(0, MINUTE - 1))
    first = first_step(traits_of("coinbase" if sure else "other"), timeframe, start, NOW, limit)
    return exchange, first


@settings(max_examples=500)
@given(worlds())
def test_any_window_is_read_completely_once_and_to_an_end(world: tuple[FakeExchange, Step]) -> None:
    exchange, first = world
    kept, _ = read_all(exchange, first)
    assert kept == [at for at in exchange.opens if at >= first.since and close_of(first.timeframe, at) <= NOW]


@given(st.integers(2, 1000), st.sampled_from(["1m", "1h", "1d", "1w", "1M"]))
def test_a_first_run_is_one_full_page_that_ends_with_the_open_candle(limit: int, timeframe: str) -> None:
    opening = floor_open(timeframe, NOW)
    exchange = FakeExchange(
        tuple(shift(timeframe, opening, -index) for index in range(limit * 2, -1, -1)), limit, False
    )
    kept, pages = read_all(exchange, first_step(traits_of("binance"), timeframe, None, NOW, limit))
    assert (len(kept), pages) == (limit - 1, 1)
    assert close_of(timeframe, kept[-1]) == opening


def minutes(*back: int) -> tuple[int, ...]:
    return tuple(floor_open("1m", NOW) - index * MINUTE for index in back)


@pytest.mark.parametrize("newest", [0, 1])
def test_a_usual_run_asks_once(newest: int) -> None:
    exchange = FakeExchange(minutes(*range(100, newest - 1, -1)), 1000, False)
    kept, pages = read_all(exchange, first_step(traits_of("binance"), "1m", NOW - 5 * MINUTE, NOW, 1000))
    assert (kept, pages) == (list(minutes(6, 5, 4, 3, 2, 1)), 1)


def test_silence_at_the_end_costs_a_second_request_only_where_the_limit_is_not_certain() -> None:
    silent_lately = FakeExchange(minutes(*range(100, 3, -1)), 300, True)
    for exchange, requests in (("coinbase", 1), ("other", 2)):
        kept, pages = read_all(silent_lately, first_step(traits_of(exchange), "1m", NOW - 5 * MINUTE, NOW, 300))
        assert (kept, pages) == (list(minutes(6, 5, 4)), requests)


def test_an_outage_longer_than_a_page_is_stepped_over() -> None:
    exchange = FakeExchange(minutes(*range(40, 35, -1), *range(10, -1, -1)), 5, True)
    kept, _ = read_all(exchange, first_step(traits_of("coinbase"), "1m", NOW - 39 * MINUTE, NOW, 5))
    assert kept == list(minutes(*range(40, 35, -1), *range(10, 0, -1)))


def test_a_window_in_the_future_of_the_exchange_begins_at_its_now() -> None:
    assert first_step(traits_of("binance"), "1m", NOW + 86_400_000, NOW, 10).since == minutes(1)[0]


def test_a_page_that_jumps_ahead_is_noticed() -> None:
    step = Step("1m", minutes(30)[0], 10)
    with pytest.raises(BrokenContinuity):
        check_continuity(step, minutes(20, 19), known=step.since)
    with pytest.raises(BrokenContinuity):
        check_continuity(step, (), known=step.since)


def test_a_page_that_begins_with_the_known_candle_or_its_neighbour_is_fine() -> None:
    step = Step("1m", minutes(30)[0], 10)
    check_continuity(step, minutes(30, 29), known=step.since)
    check_continuity(step, minutes(29, 28), known=step.since)
    check_continuity(step, minutes(20), known=minutes(31)[0])  # stepped over a silence: nothing was known there
    check_continuity(step, (), known=None)


def test_what_kraken_no_longer_has_is_recognised_and_the_reading_still_ends() -> None:
    keeps_720 = FakeExchange(minutes(*range(719, -1, -1)), 720, False)
    step = first_step(traits_of("kraken"), "1m", NOW - 1000 * MINUTE, NOW, 720)
    opens = keeps_720.answer(step)
    assert beyond_horizon(traits_of("kraken"), step, opens, NOW) == minutes(719)[0]
    assert read_all(keeps_720, step)[0] == list(minutes(*range(719, 0, -1)))


def test_within_krakens_horizon_and_on_other_exchanges_nothing_is_missing() -> None:
    step = Step("1m", minutes(700)[0], 720)
    assert beyond_horizon(traits_of("kraken"), step, minutes(699, 698), NOW) is None
    assert beyond_horizon(traits_of("kraken"), step, minutes(700, 699), NOW) is None
    older = Step("1m", minutes(900)[0], 720)
    assert beyond_horizon(traits_of("binance"), older, minutes(700), NOW) is None


A_WEEK = {
    timeframe: FakeExchange(
        tuple(shift(timeframe, floor_open(timeframe, NOW), -index) for index in range(count, -1, -1)), 1000, False
    )
    for timeframe, count in (("5m", 100), ("1h", 100), ("1d", 7))
}


@given(st.lists(st.integers(0, 5_000_000), min_size=2, max_size=6).map(sorted))
def test_windows_that_begin_where_the_last_run_covered_lose_and_repeat_little(instants: list[int]) -> None:
    start = NOW - 5_000_000
    seen: dict[str, set[int]] = {timeframe: set() for timeframe in A_WEEK}
    window = start
    for now in (start + instant for instant in instants):
        for timeframe, exchange in A_WEEK.items():
            existing = FakeExchange(tuple(at for at in exchange.opens if at <= now), exchange.cap, False)
            kept, _ = read_all(existing, first_step(traits_of("binance"), timeframe, window, now, 1000), now)
            assert len(kept) <= (now - window) // (5 * MINUTE) + 3, "re-read more than the overlap"
            seen[timeframe] |= set(kept)
        window = covered_until(dict.fromkeys(A_WEEK, now))
        assert now - 5 * MINUTE < window <= now
    for timeframe, exchange in A_WEEK.items():
        expected = {
            at
            for at in exchange.opens
            if at >= floor_open(timeframe, start) and close_of(timeframe, at) <= start + instants[-1]
        }
        assert expected <= seen[timeframe]


def test_the_earliest_reading_decides_how_far_a_run_covered() -> None:
    assert covered_until({"1m": NOW, "1h": NOW - 2 * MINUTE}) == minutes(2)[0]
