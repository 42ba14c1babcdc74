"""The levels of charts: each consists of whole rows of the one before, and a chart of any zoom reads few rows."""

from itertools import pairwise

import pytest

from admin_api.candles.chart_points import USUAL_LENGTHS, chart_points
from admin_api.candles.chart_sources import Levels, sources_of
from contracts.timeframes import DAY_MS, shortest_length
from store.chart_levels import LEVELS, levels_of
from store.periods import PeriodGrid

MOST_POINTS = 2000
MOST_ROWS = 30_000
YEARS = {"1s": 3, "4h": 12}
"""How long the longest series may be; others: 15 years."""
MIDNIGHT = 20_000 * DAY_MS
UNIT = 12 * 3_600_000


@pytest.mark.parametrize("timeframe", LEVELS)
def test_each_level_consists_of_whole_rows_of_the_one_before(timeframe: str) -> None:
    lengths = [shortest_length(timeframe), *(1000 * each for each in levels_of(timeframe))]
    for shorter, longer in pairwise(lengths):
        assert longer > shorter
        assert longer % shorter == 0
    assert DAY_MS % lengths[-1] == 0, "a day begins with a row"


@pytest.mark.parametrize("timeframe", [*LEVELS, "4h", "1d", "1w"])
def test_a_chart_of_any_zoom_reads_few_rows(timeframe: str) -> None:
    period, end = shortest_length(timeframe), 25_000 * DAY_MS
    first = end - YEARS.get(timeframe, 15) * 365 * DAY_MS
    lengths = levels_of(timeframe)
    levels = Levels(first, end - 1000 * lengths[-1], lengths) if lengths else None
    for length in USUAL_LENGTHS:
        start = max(first, end - length * MOST_POINTS)
        points = chart_points(PeriodGrid(timeframe, 0), start, end, MOST_POINTS)
        sources = sources_of(points, levels, ())
        rows = sum(min(until, end) - max(at, first) for at, until in sources.candles) // period
        if sources.level:
            rows += sum(until - at for at, until in sources.level) // (1000 * sources.seconds)
        assert rows <= MOST_ROWS, (length, points.length_ms)


def test_the_sources_of_a_chart_cover_its_range_once() -> None:
    grid, levels = PeriodGrid("1m", 0), Levels(MIDNIGHT, MIDNIGHT + 38 * UNIT, levels_of("1m"))
    points = chart_points(grid, MIDNIGHT - UNIT, MIDNIGHT + 39 * UNIT, MOST_POINTS)
    assert points.length_ms == 15 * 60_000
    stale = [MIDNIGHT + 3 * UNIT, MIDNIGHT + 4 * UNIT, MIDNIGHT + 37 * UNIT]
    sources = sources_of(points, levels, stale)
    assert sources.seconds == 15 * 60
    assert sources.level == ((MIDNIGHT, MIDNIGHT + 3 * UNIT), (MIDNIGHT + 5 * UNIT, MIDNIGHT + 37 * UNIT))
    assert sources.candles == (
        (MIDNIGHT - UNIT, MIDNIGHT),
        (MIDNIGHT + 3 * UNIT, MIDNIGHT + 5 * UNIT),
        (MIDNIGHT + 37 * UNIT, MIDNIGHT + 39 * UNIT),
    )


@pytest.mark.parametrize(("timeframe", "anchor"), [("1m", 17_000), ("1h", 30 * 60_000), ("1M", 0)])
def test_points_that_do_not_consist_of_whole_rows_are_read_from_the_candles(timeframe: str, anchor: int) -> None:
    levels = Levels(MIDNIGHT, MIDNIGHT + 1000 * UNIT, levels_of(timeframe) or (86_400,))
    points = chart_points(PeriodGrid(timeframe, anchor), MIDNIGHT, MIDNIGHT + 500 * UNIT, 100)
    assert sources_of(points, levels, ()).level == ()
