"""The points of a chart: few enough, aligned, and each of whole periods."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.candles.chart_points import chart_points
from contracts.timeframes import DAY_MS, HOUR_MS
from store.periods import PeriodGrid

MINUTE = 60_000
YEAR = 365 * DAY_MS
TIMEFRAMES = ("1s", "1m", "3m", "5m", "1h", "4h", "1d", "3d", "1w", "2w", "1M", "3M", "1y")

instants = st.integers(min_value=0, max_value=230 * YEAR)


@given(st.sampled_from(TIMEFRAMES), instants, instants, st.integers(min_value=1, max_value=60 * YEAR), st.data())
def test_at_most_so_many_points_of_whole_periods_cover_the_range(
    timeframe: str, anchor: int, start: int, length: int, data: st.DataObject
) -> None:
    grid, end = PeriodGrid(timeframe, anchor), start + length
    most = data.draw(st.integers(min_value=2, max_value=2000))
    points = chart_points(grid, start, end, most)
    assert points.start <= start < end <= points.end
    assert grid.at_or_before(points.start) == points.start
    if points.length_ms is None:
        assert 1 <= len(points.edges) <= most
        assert all(grid.at_or_before(edge) == edge for edge in points.edges)
    else:
        assert points.length_ms == points.periods * (grid.fixed_ms or 0)
        assert 1 <= (points.end - points.start) // points.length_ms <= most


@given(instants, st.integers(min_value=MINUTE, max_value=5 * YEAR), st.integers(min_value=0, max_value=5 * YEAR))
def test_a_range_that_moves_has_the_same_points(start: int, length: int, step: int) -> None:
    grid = PeriodGrid("1m", 0)
    one, other = (chart_points(grid, each, each + length, 500) for each in (start, start + step))
    if one.length_ms is not None and one.length_ms == other.length_ms:
        assert (one.start - other.start) % one.length_ms == 0


@pytest.mark.parametrize(
    ("timeframe", "span", "most", "length"),
    [
        ("1m", 500 * MINUTE, 500, MINUTE),
        ("1m", 501 * MINUTE, 500, 2 * MINUTE),
        ("1m", 2_000_000 * MINUTE, 2000, DAY_MS),
        ("5m", 600 * 5 * MINUTE, 500, 10 * MINUTE),
        ("1h", YEAR, 1000, 12 * HOUR_MS),
        ("1d", 10 * YEAR, 1000, 7 * DAY_MS),
    ],
)
def test_points_have_the_shortest_usual_length(timeframe: str, span: int, most: int, length: int) -> None:
    monday = 4 * DAY_MS
    assert chart_points(PeriodGrid(timeframe, 0), monday, monday + span, most).length_ms == length


def test_points_of_weeks_begin_on_monday() -> None:
    points = chart_points(PeriodGrid("1d", 0), 20 * YEAR, 30 * YEAR, 1000)
    assert (points.length_ms, (points.start - 4 * DAY_MS) % (7 * DAY_MS)) == (7 * DAY_MS, 0)
