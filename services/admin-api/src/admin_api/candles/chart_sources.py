"""Decides whether the points of a chart are read from a level of the series, or from its candles. Pure.

A level is used if each point consists of whole rows of the level. A level covers only a part of the series. Its units
are not used if their candles changed after the unit was filled. The rest is read from the candles.
"""

from collections.abc import Iterable
from typing import NamedTuple

from admin_api.candles.chart_points import ChartPoints
from contracts.spans import Intervals, intersect, subtract


class Levels(NamedTuple):
    """The levels of a series."""

    start: int
    end: int
    """The end of the levels. They cover the time from `start` up to `end`, in milliseconds since the epoch."""
    lengths: tuple[int, ...]
    """The lengths of the levels in seconds, ascending."""

    @property
    def unit_ms(self) -> int:
        """The length of a unit. Levels become stale in whole units."""
        return self.lengths[-1] * 1000


class Sources(NamedTuple):
    """The spans of time to read from each source. They do not overlap, and together they are the range of the chart."""

    candles: Intervals
    level: Intervals = ()
    seconds: int = 0
    """The length of the rows of the level, in seconds."""


def sources_of(points: ChartPoints, levels: Levels | None, stale: Iterable[int]) -> Sources:
    """Choose the longest level with which each point consists of whole rows.

    `stale` are the starts of the stale units.
    """
    whole = ((points.start, points.end),)
    if levels is None or points.length_ms is None:
        return Sources(whole)
    edges = (points.length_ms, points.start)
    fitting = [each for each in levels.lengths if all(edge % (each * 1000) == 0 for edge in edges)]
    if not fitting:
        return Sources(whole)
    valid = subtract([(levels.start, levels.end)], [(start, start + levels.unit_ms) for start in stale])
    level = intersect(whole, valid)
    return Sources(subtract(whole, level), level, fitting[-1])
