"""The completeness of groups of series for each day. Pure.

The query does not return a row for each series and day. It returns sums over the series of a group: how many ranges
begin and end on a day. This module computes the numbers of each day from these sums.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple

from contracts.timeframes import DAY_MS

_FIRST_DAY: Final = date(1970, 1, 1)

Group = tuple[Any, ...]
"""The values of the columns by which series are grouped."""


class DayNumbers(NamedTuple):
    """The numbers of periods that open on one day."""

    day: date
    closed: int
    verified: int
    whole: int
    answered: int


class Grid(NamedTuple):
    """Periods, numbered as in the SQL: period 0 contains the epoch, or is the period after it."""

    length: int | None
    """The length of a period in milliseconds; None for months and years."""
    months: int | None
    """The length in months; None if `length` is not None."""
    phase: int
    """The start of period 0, in milliseconds or in months since the year 0."""
    month_offset: int
    """The time from midnight on the first of a month to the open time, in milliseconds."""

    def first_of(self, day: int) -> int:
        """The number of the first period that opens on this day since the epoch or later."""
        before = day * DAY_MS - 1
        if self.length is not None:
            return (before - self.phase) // self.length + 1
        moment = datetime.fromtimestamp((before - self.month_offset) / 1000, UTC)
        return (moment.year * 12 + moment.month - 1 - self.phase) // (self.months or 1) + 1


class Events(NamedTuple):
    """The ranges that begin on one day, and those that end on it, of all series with the same grid."""

    began: int = 0
    """The number of ranges whose first period opens on this day."""
    first_periods: int = 0
    """The sum of the numbers of these periods."""
    ended: int = 0
    """The number of ranges whose last period opens on this day."""
    end_periods: int = 0
    """The sum of the numbers of the periods after these."""

    def plus(self, other: "Events") -> "Events":
        return Events(*(one + two for one, two in zip(self, other, strict=True)))


class Missing(NamedTuple):
    """The sums of `series_days` over a group and day."""

    unverified: int = 0
    whole: int = 0
    answered: int = 0


class Sums(NamedTuple):
    """The result of the query for one group. The days are days since the epoch."""

    targets: Mapping[Grid, Mapping[int, Events]]
    """The ranges of closed periods."""
    hulls: Mapping[Grid, Mapping[int, Events]]
    """The parts of the targets from the first to the last verified instant."""
    missing: Mapping[int, Missing]


def day_number(day: date) -> int:
    """Days since the epoch."""
    return (day - _FIRST_DAY).days


def numbers_by_day(sums: Sums, first: date, end: date) -> list[DayNumbers]:
    """The numbers of each day before `end` on which at least one period opens. All ranges lie within these days."""
    start, length = day_number(first), (end - first).days
    closed, inside = (_opened(ranges, start, length) for ranges in (sums.targets, sums.hulls))
    found: list[DayNumbers] = []
    for number in range(length):
        if closed[number]:
            missing = sums.missing.get(start + number, Missing())
            verified = max(0, inside[number] - missing.unverified)
            # Limited as for whole ranges, because counts that are not corrected yet may be too high.
            whole, answered = (min(closed[number], verified + each) for each in (missing.whole, missing.answered))
            found.append(DayNumbers(first + timedelta(days=number), closed[number], verified, whole, answered))
    return found


def _opened(ranges: Mapping[Grid, Mapping[int, Events]], start: int, length: int) -> Sequence[int]:
    """How many periods of the ranges open on each of `length` days from day `start` on."""
    counts = [0] * length
    for grid, events in ranges.items():
        edges = [grid.first_of(start + number) for number in range(length + 1)]
        active = 0
        for number in range(length):
            periods = edges[number + 1] - edges[number]
            today = events.get(start + number)
            if today is None:
                counts[number] += active * periods
                continue
            active += today.began
            before = today.first_periods - today.began * edges[number]
            after = today.ended * edges[number + 1] - today.end_periods
            counts[number] += active * periods - before - after
            active -= today.ended
    return counts


def sums_of(rows: Iterable[Sequence[Any]], key_length: int) -> dict[Group, Sums]:
    """The sums by group. A row of the query has the columns of the key, and then those of `completeness_days_sql`."""
    found: dict[Group, Sums] = {}
    for row in rows:
        group, (kind, day, length, months, phase, offset, one, two, three) = tuple(row[:key_length]), row[key_length:]
        sums = found.setdefault(group, Sums(defaultdict(dict), defaultdict(dict), {}))
        if kind == "missing":
            sums.missing[day] = Missing(one, two, three)  # type: ignore[index]
            continue
        ranges: Any = sums.hulls if kind.endswith("hull") else sums.targets
        events = Events(one, two) if kind.startswith("first") else Events(0, 0, one, two)
        of_grid = ranges[Grid(length, months, phase, offset)]
        of_grid[day] = of_grid.get(day, Events()).plus(events)
    return found
