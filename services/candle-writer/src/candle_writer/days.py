"""The daily counts of a series: how many of its periods are missing on each day. Pure.

A period belongs to the UTC day in which it opens. Only days with something missing have counts, so the ledger of a
series without outages has none. Times are in milliseconds since the epoch.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

from contracts.bounds import END_OF_MILLISECONDS
from contracts.spans import Interval, Intervals, intersect, subtract, union
from contracts.timeframes import DAY_MS
from store.periods import PeriodGrid

_FIRST_DAY: Final = datetime(1970, 1, 1, tzinfo=UTC).date()


class DayCounts(NamedTuple):
    """The numbers of periods of one day."""

    unverified: int = 0
    """Periods between the first and the last verified instant of the series that are not verified."""
    whole: int = 0
    """Periods that are not verified, but count as whole because of their absences."""
    answered: int = 0
    """Periods that are not verified, but count as answered because of their absences. This includes the periods that
    count as whole.
    """

    def plus(self, other: "DayCounts") -> "DayCounts":
        return DayCounts(*(one + two for one, two in zip(self, other, strict=True)))

    def minus(self, other: "DayCounts") -> "DayCounts":
        return DayCounts(*(one - two for one, two in zip(self, other, strict=True)))

    def times(self, days: int) -> "DayCounts":
        return DayCounts(*(each * days for each in self))


class Stretch(NamedTuple):
    """Consecutive days with equal counts."""

    first: date
    end: date
    """The day after the last one."""
    counts: DayCounts


class PartOfLedger(NamedTuple):
    """The ledger of a series within a range of time. The spans may end at the edges of the range."""

    hull: Interval | None
    """The span from the first to the last verified instant of the whole series. None if nothing is verified."""
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
    """The time of the periods of these days. It ends with the close of the last period, which may be much later than
    its day.
    """
    return grid.at_or_after(start_of(first)), grid.at_or_after(start_of(last) + DAY_MS)


def count_days(part: PartOfLedger, first: date, last: date, grid: PeriodGrid) -> list[Stretch]:
    """The days from `first` to `last` that have any counts, ascending. `part` covers `range_of` these days.

    If the periods of all days are alike, the running time depends on the number of spans, and not on the length of a
    hole.
    """
    whole, answered = union([*part.verified, *part.whole]), union([*part.verified, *part.answered])
    hull = () if part.hull is None else (part.hull,)
    borders = sorted({edge for spans in (hull, part.verified, whole, answered) for span in spans for edge in span})
    stretches: list[Stretch] = []
    for day, end in _days_with_gaps(part, first, last, grid):
        following = day
        while (start := day_of(grid.at_or_after(start_of(following)))) < end:
            window = grid.at_or_after(start_of(start)), grid.at_or_after(start_of(start) + DAY_MS)
            following = min(end, start + timedelta(days=_equal_days(window, borders, grid)))
            verified = _periods(part.verified, window, grid)
            counts = DayCounts(
                _periods(hull, window, grid) - verified,
                _periods(whole, window, grid) - verified,
                _periods(answered, window, grid) - verified,
            )
            if any(counts):
                stretches.append(Stretch(start, following, counts))
    return stretches


def _equal_days(window: Interval, borders: Sequence[int], grid: PeriodGrid) -> int:
    """The number of consecutive days with equal counts, at least one.

    The first day is the day whose periods are `window`.
    """
    if (length := grid.fixed_ms) is None or DAY_MS % length:
        return 1
    index = bisect_right(borders, window[0])
    until = borders[index] if index < len(borders) else END_OF_MILLISECONDS
    return max(1, (until - window[0]) // DAY_MS)


def _days_with_gaps(part: PartOfLedger, first: date, last: date, grid: PeriodGrid) -> Iterator[tuple[date, date]]:
    """The days of all periods that overlap an open hole or an absence. The ranges ascend and do not overlap; each ends
    with the day after its last day.
    """
    window = range_of(first, last, grid)
    if window[0] >= window[1]:
        return
    holes = subtract([part.hull], part.verified) if part.hull else ()
    following = first
    for gap in intersect([*holes, *part.whole, *part.answered], [window]):
        start, end = days_of(gap, grid)
        following, until = max(following, start), min(end, last) + timedelta(days=1)
        if following < until:
            yield following, until
            following = until


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
    stored: Mapping[date, DayCounts], counted: Sequence[Stretch]
) -> tuple[list[date], list[Stretch], DayCounts]:
    """The days to remove, the days to write, and the resulting change of the sums of the series."""
    removed, difference, written = set(stored), DayCounts(), list[Stretch]()
    days = sorted(stored)
    for stretch in counted:
        start = stretch.first
        for day in days[bisect_left(days, stretch.first) : bisect_left(days, stretch.end)]:
            removed.discard(day)
            if stored[day] != stretch.counts:
                difference = difference.minus(stored[day])
                continue
            written.append(Stretch(start, day, stretch.counts))
            start = day + timedelta(days=1)
        written.append(Stretch(start, stretch.end, stretch.counts))
    written = [stretch for stretch in written if stretch.first < stretch.end]
    for day in removed:
        difference = difference.minus(stored[day])
    return sorted(removed), written, difference.plus(sum_of(written))


def sum_of(stretches: Iterable[Stretch]) -> DayCounts:
    """The counts of all days together."""
    total = DayCounts()
    for stretch in stretches:
        total = total.plus(stretch.counts.times((stretch.end - stretch.first).days))
    return total
