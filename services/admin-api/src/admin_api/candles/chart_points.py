"""The points of a chart: the number of periods that each point joins, and the times at which points begin. Pure.

Points begin at fixed times. So the same time always lies in the same point, no matter where the requested range begins.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

from contracts.coverage import to_instant
from contracts.timeframes import DAY_MS, HOUR_MS
from store.periods import PeriodGrid

_SECOND: Final = 1_000
_MINUTE: Final = 60_000
_WEEK: Final = 7 * DAY_MS
_FIRST_MONDAY: Final = 4 * DAY_MS
"""1970-01-05, the first Monday after the epoch, because weeks begin on Monday."""
USUAL_LENGTHS: Final = tuple(
    amount * unit
    for unit, amounts in (
        (_SECOND, (1, 2, 5, 10, 15, 30)),
        (_MINUTE, (1, 2, 3, 5, 10, 15, 30)),
        (HOUR_MS, (1, 2, 3, 4, 6, 8, 12)),
        (DAY_MS, (1, 2, 3)),
        (_WEEK, (1, 2, 4, 8, 13, 26, 52)),
    )
    for amount in amounts
)
"""The lengths of points that people can read, in milliseconds."""


@dataclass(frozen=True)
class ChartPoints:
    """The points from `start` up to, but not including, `end`, in milliseconds since the epoch."""

    start: int
    end: int
    periods: int
    """The number of periods of each point."""
    length_ms: int | None
    """The length of each point; None for months and years."""
    edges: tuple[int, ...] = ()
    """The starts of the points, for months and years."""

    def sql_start(self, instant: str) -> str:
        """SQL for the start of the point that contains `instant`, an SQL expression of type timestamptz."""
        if self.length_ms is not None:
            return f"date_bin(CAST(:length AS interval), {instant}, :origin)"
        return f"(CAST(:edges AS timestamptz[]))[width_bucket({instant}, CAST(:edges AS timestamptz[]))]"

    def sql_parameters(self) -> dict[str, Any]:
        """The values of the parameters that the expression of `sql_start` contains."""
        if self.length_ms is not None:
            return {"length": to_instant(self.length_ms) - to_instant(0), "origin": to_instant(self.start)}
        return {"edges": [to_instant(edge) for edge in self.edges]}


def chart_points(grid: PeriodGrid, start: int, end: int, most: int) -> ChartPoints:
    """The shortest points with which at most `most` points cover the range from `start` to `end`. The range must not be
    empty.

    The range of the result is wider, if its first or last point begins before `start` or ends after `end`.
    """
    if grid.fixed_ms is None:
        return _calendar_points(grid, start, end, most)
    for length in _lengths(grid.fixed_ms, end - start, most):
        origin = _origin(grid, grid.fixed_ms, length)
        first, last = (start - origin) // length, -((origin - end) // length)
        if last - first <= most:
            return ChartPoints(origin + first * length, origin + last * length, length // grid.fixed_ms, length)
    raise AssertionError("the last length covers every range with one point")


def _lengths(period: int, span: int, most: int) -> list[int]:
    """The possible lengths of a point, ascending. Each is a multiple of a period."""
    usual = [each for each in USUAL_LENGTHS if each % period == 0 and each > period]
    longest = usual[-1] if usual else period
    doublings = range(1, 3 + max(0, math.ceil(math.log2(max(1, span / longest)))))
    return [each for each in (period, *usual, *(longest * 2**n for n in doublings)) if each * most >= span]


def _origin(grid: PeriodGrid, period: int, length: int) -> int:
    """The start of one point. Points of whole weeks begin on Monday, if periods do not begin at other times."""
    phase = grid.anchor % period
    return phase + _FIRST_MONDAY if length % _WEEK == 0 and DAY_MS % period == 0 else phase


def _calendar_points(grid: PeriodGrid, start: int, end: int, most: int) -> ChartPoints:
    starts = [grid.at_or_before(start)]
    while (following := grid.at_or_after(starts[-1] + 1)) < end:
        starts.append(following)
    periods = math.ceil(len(starts) / most)
    edges = tuple(starts[::periods])
    return ChartPoints(edges[0], following, periods, None, edges)
