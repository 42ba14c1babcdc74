"""Where the points of a chart are read: from a level of the series, or from its candles. Pure.

A level is used if each point consists of whole rows of it. It covers only a part of the series, and units are left out
if their candles changed after they were filled. The rest is read from the candles.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple

from admin_api.candles.chart_points import ChartPoints
from contracts.spans import Intervals, intersect, subtract


class Levels(NamedTuple):
    """The levels of a series."""

    start: int
    end: int
    """The levels cover the time from `start` up to `end`, in milliseconds since the epoch."""
    seconds: tuple[int, ...]
    """The lengths of the levels, ascending."""

    @property
    def unit_ms(self) -> int:
        """Levels become stale in units of this length."""
        return self.seconds[-1] * 1000


class Sources(NamedTuple):
    """The spans of time to read from each source. Together they are the range of the chart, without an overlap."""

    candles: Intervals
    level: Intervals = ()
    seconds: int = 0
    """The length of the rows of the level."""


def sources_of(points: ChartPoints, levels: Levels | None, stale: Iterable[int]) -> Sources:
    """Choose the longest level of which each point has whole rows. `stale` are the starts of the stale units."""
    whole: Final = ((points.start, points.end),)
    if levels is None or points.length_ms is None:
        return Sources(whole)
    lengths = (points.length_ms, points.start)
    fitting = [each for each in levels.seconds if all(length % (each * 1000) == 0 for length in lengths)]
    if not fitting:
        return Sources(whole)
    valid = subtract([(levels.start, levels.end)], [(start, start + levels.unit_ms) for start in stale])
    level = intersect(whole, valid)
    return Sources(subtract(whole, level), level, fitting[-1])


class Part(NamedTuple):
    """The candles of one point that are read from one source."""

    open_time: Any
    """The start of the point."""
    open: float
    high: float
    low: float
    close: float
    volume: float
    candles: int
    first: Any
    """The start of the first row of this source."""
    last: Any


def joined(rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    """One row per point, ascending. A row has the fields of `Part`.

    A point has several rows if both sources contain candles of it, which is rare. So only these become a `Part`.
    """
    points: list[Sequence[Any]] = []
    for row in sorted(rows, key=itemgetter(0)):
        if points and points[-1][0] == row[0]:
            points[-1] = _join(Part(*points[-1]), Part(*row))
        else:
            points.append(row)
    return points


def _join(one: Part, other: Part) -> Part:
    """The spans of the two parts may alternate."""
    first, last = min(one, other, key=attrgetter("first")), max(one, other, key=attrgetter("last"))
    return Part(
        one.open_time,
        first.open,
        max(one.high, other.high),
        min(one.low, other.low),
        last.close,
        one.volume + other.volume,
        one.candles + other.candles,
        first.first,
        last.last,
    )
