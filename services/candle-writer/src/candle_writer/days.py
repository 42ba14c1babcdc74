"""The daily counts of a series: how many of its periods are missing on each day. Pure.

A period belongs to the UTC day in which it opens. Only days with something missing have counts, so the ledger of a
series without outages has none. Times are in milliseconds since the epoch.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

from contracts.spans import Interval, Intervals, intersect, subtract, union
from contracts.timeframes import DAY_MS
from store.periods import PeriodGrid

_FIRST_DAY: Final = datetime(1970, 1, 1, tzinfo=UTC).date()


class DayCounts(NamedTuple):
    """The numbers of periods of one day."""

    unverified: int = 0
    """Between the first and the last verified instant of the series, and not verified."""
    whole: int = 0
    """Not verified, and whole by their absences."""
    answered: int = 0
    """Not verified, and answered by their absences. Includes those that are whole."""

    def plus(self, other: "DayCounts") -> "DayCounts":
        return DayCounts(*(one + two for one, two in zip(self, other, strict=True)))

    def minus(self, other: "DayCounts") -> "DayCounts":
        return DayCounts(*(one - two for one, two in zip(self, other, strict=True)))


class PartOfLedger(NamedTuple):
    """The ledger of a series within a range of time. The spans may end at the edges of the range."""

    hull: Interval | None
    """From the first to the last verified instant of the whole series. None if nothing is verified."""
    verified: Intervals
    whole: Intervals
    """The absences of `WHOLE_CLASSES`."""
    answered: Intervals
    """The absences of `ANSWERED_CLASSES`."""


def day_of(instant: int) -> date:
    """The UTC day that contains the instant."""
    return _FIRST_DAY + timedelta(days=instant // DAY_MS)


def start_of(day: date) -> int:
    return (day - _FIRST_DAY).days * DAY_MS


def days_of(changed: Interval, grid: PeriodGrid) -> tuple[date, date]:
    """The first and the last day of the periods that overlap a changed range."""
    start, end = changed
    return day_of(grid.at_or_before(start)), day_of(end - 1)


def range_of(first: date, last: date, grid: PeriodGrid) -> Interval:
    """The time of the periods of these days: up to the close of the last one, which may be much later."""
    return grid.at_or_after(start_of(first)), grid.at_or_after(start_of(last) + DAY_MS)


def count_days(part: PartOfLedger, first: date, last: date, grid: PeriodGrid) -> dict[date, DayCounts]:
    """The counts of each day from `first` to `last` that has any. `part` covers `range_of` these days."""
    whole, answered = union([*part.verified, *part.whole]), union([*part.verified, *part.answered])
    hull = () if part.hull is None else (part.hull,)
    counts: dict[date, DayCounts] = {}
    for day in _days_with_gaps(part, first, last, grid):
        window = grid.at_or_after(start_of(day)), grid.at_or_after(start_of(day) + DAY_MS)
        verified = _periods(part.verified, window, grid)
        found = DayCounts(
            _periods(hull, window, grid) - verified,
            _periods(whole, window, grid) - verified,
            _periods(answered, window, grid) - verified,
        )
        if any(found):
            counts[day] = found
    return counts


def _days_with_gaps(part: PartOfLedger, first: date, last: date, grid: PeriodGrid) -> Iterator[date]:
    """The days of all periods that overlap an open hole or an absence, ascending, each once."""
    window = range_of(first, last, grid)
    if window[0] >= window[1]:
        return
    holes = subtract([part.hull], part.verified) if part.hull else ()
    following = first
    for gap in intersect([*holes, *part.whole, *part.answered], [window]):
        start, end = days_of(gap, grid)
        following = max(following, start)
        while following <= min(end, last):
            yield following
            following += timedelta(days=1)


def _periods(spans: Sequence[Interval], window: Interval, grid: PeriodGrid) -> int:
    """The number of periods in the window that lie completely in one of the spans, which do not overlap."""
    start, end = window
    total = 0
    for index in range(max(0, bisect_right(spans, (start, start)) - 1), len(spans)):
        if spans[index][0] >= end:
            break
        total += grid.count(max(start, spans[index][0]), min(end, spans[index][1]))
    return total


def changes(
    stored: Mapping[date, DayCounts], counted: Mapping[date, DayCounts]
) -> tuple[list[date], dict[date, DayCounts], DayCounts]:
    """The days to remove, the days to write, and what both add to the sums of the series."""
    removed = [day for day in stored if day not in counted]
    written = {day: counts for day, counts in counted.items() if stored.get(day) != counts}
    difference = DayCounts()
    for counts in written.values():
        difference = difference.plus(counts)
    for day in [*removed, *(day for day in written if day in stored)]:
        difference = difference.minus(stored[day])
    return removed, written, difference
