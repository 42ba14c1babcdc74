"""The daily counts, compared with a count of all periods, one by one."""

import itertools
from collections import defaultdict
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candle_writer.days import DayCounts, PartOfLedger, changes, count_days, day_of, range_of
from contracts.spans import Interval, hull, intersect, subtract, union
from contracts.timeframes import DAY_MS, HOUR_MS, close_of, floor_open
from store.periods import PeriodGrid
from support.depth import tries

START = 1_795_305_600_000
"""2026-11-22T00:00:00Z."""
TIMEFRAMES = {"4h": 60, "1d": 20, "2d": 16, "1w": 10, "1M": 8}
"""The number of periods of each example."""


@st.composite
def ledgers(draw: st.DrawFn) -> tuple[PeriodGrid, list[int], tuple[list[Interval], list[Interval], list[Interval]]]:
    """Periods, and three lists of spans that begin and end inside of periods or at their edges."""
    timeframe = draw(st.sampled_from(list(TIMEFRAMES)))
    edges = [floor_open(timeframe, START) + draw(st.sampled_from([0, 0, 8 * HOUR_MS, 61_000]))]
    while len(edges) <= TIMEFRAMES[timeframe]:
        edges.append(close_of(timeframe, edges[-1]))
    instants = st.tuples(st.sampled_from(edges[1:-1]), st.sampled_from([0, 0, 0, -1, 1, 60_000])).map(sum)
    spans = st.lists(st.tuples(instants, instants).filter(lambda span: span[0] < span[1]), max_size=4)
    return PeriodGrid(timeframe, edges[0]), edges, (draw(spans), draw(spans), draw(spans))


def one_by_one(edges: list[int], verified: list[Interval], whole: list[Interval], answered: list[Interval]) -> object:
    def inside(period: Interval, *spans: list[Interval]) -> bool:
        return subtract([period], [each for some in spans for each in some]) == ()

    found: dict[date, list[int]] = defaultdict(lambda: [0, 0, 0])
    for period in itertools.pairwise(edges):
        if not inside(period, verified):
            counts = found[day_of(period[0])]
            counts[0] += inside(period, list(hull(verified)))
            counts[1] += inside(period, verified, whole)
            counts[2] += inside(period, verified, answered)
    return {day: DayCounts(*counts) for day, counts in found.items() if any(counts)}


@pytest.mark.deep
@settings(max_examples=tries(100, deep=3_000))
@given(ledgers(), st.data())
def test_the_counts_equal_those_of_all_periods_one_by_one(
    ledger: tuple[PeriodGrid, list[int], tuple[list[Interval], list[Interval], list[Interval]]], data: st.DataObject
) -> None:
    grid, edges, (verified, whole, others) = ledger
    answered = [*whole, *others]
    everything = one_by_one(edges, verified, whole, answered)
    assert isinstance(everything, dict)
    days = st.integers(edges[0] // DAY_MS, edges[-1] // DAY_MS)
    first, last = sorted(data.draw(st.tuples(days, days)))
    for start, end in ((edges[0] // DAY_MS, edges[-1] // DAY_MS), (first, last)):
        from_day, to_day = day_of(start * DAY_MS), day_of(end * DAY_MS)
        window = range_of(from_day, to_day, grid)
        of_window = [intersect(spans, [window]) for spans in (verified, whole, answered)]
        part = PartOfLedger(hull(verified)[0] if verified else None, *map(union, of_window))
        counted = count_days(part, from_day, to_day, grid)
        assert counted == {day: counts for day, counts in everything.items() if from_day <= day <= to_day}


def test_changes_are_the_days_that_differ_and_their_difference() -> None:
    days = [day_of(START + number * DAY_MS) for number in range(4)]
    stored = {days[0]: DayCounts(5, 1, 2), days[1]: DayCounts(7, 0, 0), days[2]: DayCounts(1, 1, 1)}
    counted = {days[1]: DayCounts(7, 0, 0), days[2]: DayCounts(3, 1, 2), days[3]: DayCounts(10, 0, 4)}
    assert changes(stored, counted) == (
        [days[0]],
        {days[2]: DayCounts(3, 1, 2), days[3]: DayCounts(10, 0, 4)},
        DayCounts(3 - 1 + 10 - 5, -1, 1 + 4 - 2),
    )
    assert changes(counted, counted) == ([], {}, DayCounts())
