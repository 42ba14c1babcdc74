"""The daily counts, compared with a count of all periods, one by one."""

import itertools
from collections import defaultdict
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candle_writer.days import DayCounts, PartOfLedger, Stretch, changes, count_days, day_of, range_of, sum_of
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
        counted = by_day(count_days(part, from_day, to_day, grid))
        assert counted == {day: counts for day, counts in everything.items() if from_day <= day <= to_day}


def by_day(stretches: list[Stretch]) -> dict[date, DayCounts]:
    """Raises AssertionError if the stretches are empty, overlap, or do not ascend."""
    assert all(stretch.first < stretch.end for stretch in stretches)
    assert all(one.end <= two.first for one, two in itertools.pairwise(stretches))
    return {
        stretch.first + timedelta(days=number): stretch.counts
        for stretch in stretches
        for number in range((stretch.end - stretch.first).days)
    }


def test_a_hole_of_six_years_is_counted_in_a_few_runs() -> None:
    days = 6 * 365
    end = START + days * DAY_MS
    verified = ((START - HOUR_MS, START + HOUR_MS), (end - HOUR_MS, end + HOUR_MS))
    absent = ((START + 100 * DAY_MS + 60_000, START + 200 * DAY_MS),)
    part = PartOfLedger((START - HOUR_MS, end + HOUR_MS), verified, absent, absent)
    stretches = count_days(part, day_of(START), day_of(end), PeriodGrid("1m", START))
    assert [((stretch.end - stretch.first).days, stretch.counts) for stretch in stretches] == [
        (1, DayCounts(1380, 0, 0)),
        (99, DayCounts(1440, 0, 0)),
        (1, DayCounts(1440, 1439, 1439)),
        (99, DayCounts(1440, 1440, 1440)),
        (days - 201, DayCounts(1440, 0, 0)),
        (1, DayCounts(1380, 0, 0)),
    ]
    weeks = count_days(part, day_of(START), day_of(end), PeriodGrid("1w", START + DAY_MS))
    assert (len(weeks), sum_of(weeks)) == (312, DayCounts(312, 13, 13))


@pytest.mark.deep
@settings(max_examples=tries(100, deep=3_000))
@given(st.data())
def test_changes_turn_the_stored_days_into_the_counted_ones(data: st.DataObject) -> None:
    counts = st.sampled_from([DayCounts(1, 0, 0), DayCounts(5, 2, 3)])
    first = day_of(START)
    stored = data.draw(st.dictionaries(st.integers(0, 12).map(lambda number: first + timedelta(days=number)), counts))
    stretches, start = [], 0
    for gap, length, each in data.draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), counts), max_size=4)):
        day = first + timedelta(days=start + gap)
        stretches.append(Stretch(day, day + timedelta(days=length), each))
        start += gap + length
    removed, written, difference = changes(stored, stretches)
    after = {day: each for day, each in stored.items() if day not in removed} | by_day(written)
    assert after == by_day(stretches)
    assert sum_of(stretches) == sum_of(
        Stretch(day, day + timedelta(days=1), each) for day, each in stored.items()
    ).plus(difference)
    assert not any(stored.get(day) == each for day, each in by_day(written).items())


def test_changes_are_the_days_that_differ_and_their_difference() -> None:
    days = [day_of(START + number * DAY_MS) for number in range(4)]
    stored = {days[0]: DayCounts(5, 1, 2), days[1]: DayCounts(7, 0, 0), days[2]: DayCounts(1, 1, 1)}
    counted = [
        Stretch(day, day + timedelta(days=1), counts)
        for day, counts in zip(days[1:], (DayCounts(7, 0, 0), DayCounts(3, 1, 2), DayCounts(10, 0, 4)), strict=True)
    ]
    assert changes(stored, counted) == (
        [days[0]],
        counted[1:],
        DayCounts(3 - 1 + 10 - 5, -1, 1 + 4 - 2),
    )
    assert changes({stretch.first: stretch.counts for stretch in counted}, counted) == ([], [], DayCounts())
