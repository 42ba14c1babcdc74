"""Requests for missing time: the pages that the backfiller plans, and their number that estimates use."""

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from contracts import spans
from contracts.coverage import to_milliseconds
from contracts.pages import count_pages, horizon_of, pages_of
from contracts.spans import Intervals
from contracts.timeframes import parse_timeframe, shift

MINUTE = 60_000
NOW = to_milliseconds(datetime.fromisoformat("2026-11-27T12:00:00+00:00"))

HOLES = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 50)), max_size=8)


def missing_of(holes: list[tuple[int, int]], timeframe: str = "1m") -> Intervals:
    """Holes of whole candles. Each has its first candle, counted from 2020 on, and its length."""
    first = to_milliseconds(datetime.fromisoformat("2020-01-01T00:00:00+00:00"))
    edges = [(shift(timeframe, first, start), shift(timeframe, first, start + length)) for start, length in holes]
    return spans.union(edges)


def pages_one_by_one(page: int, minutes: set[int]) -> int:
    """A page begins at the newest missing minute that no page contains yet."""
    pages, left = 0, set(minutes)
    while left:
        newest = max(left)
        left -= set(range(newest - max(1, page - 2) + 1, newest + 1))
        pages += 1
    return pages


@given(page=st.integers(1, 12), minutes=st.sets(st.integers(1000, 1080)))
def test_the_pages_are_those_that_contain_each_missing_candle(page: int, minutes: set[int]) -> None:
    missing = spans.union((each * MINUTE, (each + 1) * MINUTE) for each in minutes)
    found = list(pages_of("1m", page, missing))
    assert spans.subtract(missing, found) == ()
    assert len(found) == pages_one_by_one(page, minutes) == count_pages("1m", page, missing)


@given(HOLES, st.integers(1, 60), st.sampled_from(["1m", "15m", "1h", "1d"]))
def test_the_count_is_the_number_of_pages(holes: list[tuple[int, int]], page: int, timeframe: str) -> None:
    missing = missing_of(holes, timeframe)
    assert count_pages(timeframe, page, missing) == len(list(pages_of(timeframe, page, missing)))


@given(HOLES, st.integers(1, 60), st.sampled_from(["1M", "1y"]))
def test_the_count_of_calendar_periods_differs_by_at_most_one_per_hole(
    holes: list[tuple[int, int]], page: int, timeframe: str
) -> None:
    missing = missing_of([(start % 12, length) for start, length in holes], timeframe)
    found = len(list(pages_of(timeframe, page, missing)))
    assert abs(count_pages(timeframe, page, missing) - found) <= max(1, len(missing))


@given(HOLES, st.integers(3, 60))
def test_more_missing_time_never_needs_fewer_requests(holes: list[tuple[int, int]], page: int) -> None:
    missing = missing_of(holes)
    assert count_pages("1m", page, missing) <= count_pages("1m", page, spans.hull(missing))
    candles = sum(end - start for start, end in missing) // MINUTE
    assert candles <= count_pages("1m", page, missing) * (page - 2)


@given(st.sampled_from(["1s", "1m", "1h", "1d", "1w", "1M", "1y"]), st.integers(1, 100_000))
def test_the_horizon_is_not_negative_and_not_in_the_future(timeframe: str, newest_readable: int) -> None:
    horizon = horizon_of(timeframe, newest_readable, NOW)
    assert horizon is not None
    assert 0 <= horizon <= NOW
    if parse_timeframe(timeframe).longest_ms == parse_timeframe(timeframe).nominal_ms and horizon > 0:
        assert shift(timeframe, horizon, newest_readable) > NOW, "the exchange would keep an older candle"
