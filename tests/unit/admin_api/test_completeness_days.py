"""The numbers of each day, compared with a count of all periods of all series, one by one."""

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from admin_api.coverage.completeness_days import DayNumbers, Grid, Missing, Sums, numbers_by_day, sums_of
from contracts.timeframes import DAY_MS, HOUR_MS

FIRST = date(2026, 1, 28)
DAYS = 40
MINUTE_MS = 60_000
START = int(datetime(2026, 1, 28, tzinfo=UTC).timestamp() * 1000)

GRIDS = st.one_of(
    st.builds(
        lambda length, phase: Grid(length, None, phase % length, 0),
        st.sampled_from([5 * MINUTE_MS, HOUR_MS, 7 * HOUR_MS, DAY_MS, 2 * DAY_MS, 7 * DAY_MS]),
        st.sampled_from([0, 0, 1, 16 * HOUR_MS, 345_600_000]),
    ),
    st.builds(
        lambda months, phase, offset: Grid(None, months, phase % months, offset),
        st.sampled_from([1, 2, 12]),
        st.integers(0, 11),
        st.sampled_from([0, 0, 8 * HOUR_MS]),
    ),
)


def opening_of(grid: Grid, number: int) -> int:
    if grid.length is not None:
        return number * grid.length + grid.phase
    year, month = divmod(number * grid.months + grid.phase, 12)
    return int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp() * 1000) + grid.month_offset


def periods_of(grid: Grid) -> list[int]:
    """The numbers of all periods that open on one of the days."""
    number = (2025 * 12 - grid.phase) // grid.months if grid.length is None else (START - grid.phase) // grid.length - 1
    found = []
    while (opens := opening_of(grid, number)) < START + DAYS * DAY_MS:
        if opens >= START:
            found.append(number)
        number += 1
    return found


def rows_of(grid: Grid, first: int, end: int, suffix: str) -> list[tuple[Any, ...]]:
    """The rows of the query for one range."""
    edges = (("first", opening_of(grid, first), first), ("end", opening_of(grid, end - 1), end))
    return [(f"{name}{suffix}", opens // DAY_MS, *grid, 1, number, None) for name, opens, number in edges]


@settings(max_examples=200, deadline=None)
@given(st.lists(GRIDS, max_size=5), st.data())
def test_the_numbers_equal_those_of_all_periods_one_by_one(grids: list[Grid], data: st.DataObject) -> None:
    rows: list[tuple[Any, ...]] = []
    model: dict[str, Counter[int]] = defaultdict(Counter)
    for grid in grids:
        numbers = periods_of(grid)
        if not numbers:
            continue
        one, two = sorted(data.draw(st.tuples(st.sampled_from(numbers), st.sampled_from(numbers))))
        for suffix, end in (("", numbers[-1] + 1), ("_of_hull", two)):
            if one < end:
                rows += rows_of(grid, one, end, suffix)
                model[suffix].update(opening_of(grid, number) // DAY_MS for number in range(one, end))
    sums = sums_of([("kraken", *row) for row in rows], 1).get(("kraken",), Sums({}, {}, {}))
    found = numbers_by_day(sums, FIRST, FIRST + timedelta(days=DAYS))
    days = {day: FIRST + timedelta(days=day - START // DAY_MS) for day in model[""]}
    assert {each.day: (each.closed, each.verified) for each in found} == {
        days[day]: (closed, model["_of_hull"][day]) for day, closed in model[""].items()
    }


def test_missing_periods_are_subtracted_and_absent_ones_added() -> None:
    grid, day = Grid(HOUR_MS, None, 0, 0), START // DAY_MS
    rows = [*rows_of(grid, day * 24, day * 24 + 48, ""), *rows_of(grid, day * 24 + 2, day * 24 + 48, "_of_hull")]
    sums = sums_of([*rows, ("missing", day, None, None, None, None, 5, 1, 3)], 0)[()]
    assert numbers_by_day(sums, FIRST, FIRST + timedelta(days=3)) == [
        DayNumbers(FIRST, 24, 17, 18, 20),
        DayNumbers(FIRST + timedelta(days=1), 24, 24, 24, 24),
    ]


def test_counts_that_are_too_high_give_no_impossible_numbers() -> None:
    grid, day = Grid(HOUR_MS, None, 0, 0), START // DAY_MS
    sums = sums_of(rows_of(grid, day * 24, day * 24 + 24, ""), 0)[()]
    [found] = numbers_by_day(sums._replace(missing={day: Missing(30, 0, 30)}), FIRST, FIRST + timedelta(days=3))
    assert found == DayNumbers(FIRST, 24, 0, 0, 24)
