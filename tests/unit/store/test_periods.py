"""The periods of a series, compared with a list of all periods."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.timeframes import DAY_MS, HOUR_MS, close_of, floor_open, shift
from store.periods import PeriodGrid

NOON_MS = 1_795_348_800_000
"""2026-11-22T12:00:00Z."""
TIMEFRAMES = ["1s", "1m", "5m", "1h", "12h", "1d", "1w", "2w", "1M", "3M", "1y"]


def all_periods(timeframe: str, opens: int, around: int = 40) -> list[tuple[int, int]]:
    """The periods of a series whose candles open like the one at `opens`, found by stepping from one to the next."""
    first = shift(timeframe, shift(timeframe, opens, 0), -around)
    found = [(first, close_of(timeframe, first))]
    while len(found) < 2 * around:
        found.append((found[-1][1], close_of(timeframe, found[-1][1])))
    return found


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
@given(data=st.data())
def test_edges_and_counts_agree_with_the_list_of_all_periods(timeframe: str, data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from([0, 0, -8 * HOUR_MS, 5 * HOUR_MS, 14_789]))
    opens = floor_open(timeframe, NOON_MS) + (zone if timeframe != "1s" else 0)
    grid = PeriodGrid(timeframe, opens)
    periods = all_periods(timeframe, opens)
    edges = [start for start, _ in periods]
    instants = st.one_of(st.sampled_from(edges[5:-5]), st.integers(edges[5], edges[-5]))
    instant, other = data.draw(instants), data.draw(instants)
    assert grid.at_or_before(instant) == max(edge for edge in edges if edge <= instant)
    assert grid.at_or_after(instant) == min(edge for edge in edges if edge >= instant)
    assert grid.count(instant, other) == sum(instant <= start and end <= other for start, end in periods)


@given(st.integers(-40 * DAY_MS, 40 * DAY_MS), st.integers(-40 * DAY_MS, 40 * DAY_MS))
def test_periods_may_be_longer_than_the_name_of_the_timeframe_says(start: int, end: int) -> None:
    grid = PeriodGrid("2w", NOON_MS, 15 * DAY_MS)
    edges = [NOON_MS + 15 * DAY_MS * number for number in range(-5, 6)]
    start, end = NOON_MS + start, NOON_MS + end
    assert grid.at_or_before(start) == max(edge for edge in edges if edge <= start)
    assert grid.at_or_after(start) == min(edge for edge in edges if edge >= start)
    assert grid.count(start, end) == sum(start <= edge and edge + 15 * DAY_MS <= end for edge in edges)


def test_the_usual_grid_begins_days_at_midnight_and_weeks_on_monday() -> None:
    assert PeriodGrid.usual("1d").at_or_before(NOON_MS) == NOON_MS - DAY_MS // 2
    assert PeriodGrid.usual("1w").at_or_before(NOON_MS) == NOON_MS - DAY_MS // 2 - 6 * DAY_MS
    assert PeriodGrid.usual("1M").at_or_before(NOON_MS) == floor_open("1M", NOON_MS)
