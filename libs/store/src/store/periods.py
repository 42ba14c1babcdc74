"""The periods of a series: the time range of each candle, from its open time to its close time.

Consecutive periods touch. Their grid contains a known candle of the series, because some exchanges open their days,
weeks or months at another time than midnight UTC. Instants are in milliseconds since the epoch.

`PeriodGrid.count` and the SQL of `sql_count` compute the same number. A test compares both with a list of all periods.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from contracts.exchange_catalogue import load_catalogue
from contracts.timeframes import DAY_MS, floor_open, parse_timeframe, shift

_FIXED: Final = "floor((round(date_part('epoch', {instant}) * 1000) - {earlier} - :phase) / :length)"
_CALENDAR: Final = "floor((date_part('year', {moved}) * 12 + date_part('month', {moved}) - 1 - :first_month) / :months)"
_MOVED: Final = "(({instant} - interval '{earlier} milliseconds' - CAST(:offset AS interval)) AT TIME ZONE 'UTC')"
_COUNT: Final = "greatest(0, {end} - {start} - 1)"


@dataclass(frozen=True)
class PeriodGrid:
    """The periods of one timeframe. `anchor` is the open time of any candle of the series."""

    timeframe: str
    anchor: int
    length_ms: int | None = None
    """The length of a period in milliseconds, if it differs from the name of the timeframe."""

    @classmethod
    def usual(cls, timeframe: str) -> "PeriodGrid":
        """The grid of a series without a known candle: days begin at midnight UTC and weeks on Monday."""
        return cls(timeframe, floor_open(timeframe, 0))

    @classmethod
    def of_series(cls, exchange: str, timeframe: str, anchor: int | None) -> "PeriodGrid":
        """The grid of a series. `anchor` is the open time of its newest candle, or another known edge of a period; None
        if nothing is known.

        On a few exchanges, the length of the candles differs from the name of the timeframe. Raises `ValueError` for a
        text that is not a timeframe.
        """
        if anchor is None:
            return cls.usual(timeframe)
        entry = load_catalogue().exchanges.get(exchange)
        return cls(timeframe, anchor, None if entry is None else entry.candle_lengths.get(timeframe))

    @property
    def phase(self) -> tuple[int, ...]:
        """The offset of the periods. Two grids of the same timeframe have the same periods if their phases are
        equal.
        """
        if (length := self.fixed_ms) is not None:
            return length, self.anchor % length
        return self._months, self._offset, _month_of(self._anchor_month) % self._months

    def at_or_before(self, instant: int) -> int:
        """The start of the period that contains `instant`."""
        return self._shift(self._number(instant))

    def at_or_after(self, instant: int) -> int:
        """The start of the first period that begins at `instant` or later."""
        return self._shift(self._number(instant - 1) + 1)

    def count(self, start: int, end: int) -> int:
        """The number of periods that lie completely between `start` and `end`."""
        return max(0, self._number(end) - self._number(start - 1) - 1)

    def sql_count(self, start: str, end: str) -> str:
        """The same number as an SQL expression. `start` and `end` are SQL expressions of type timestamptz.

        The expression needs the parameters of `sql_parameters`.
        """
        return _COUNT.format(end=self._sql_number(end, earlier=0), start=self._sql_number(start, earlier=1))

    def sql_parameters(self) -> dict[str, Any]:
        """The values of the parameters that the expression of `sql_count` contains."""
        if (length := self.fixed_ms) is not None:
            return {"phase": float(self.anchor % length), "length": float(length)}
        return {
            "first_month": float(_month_of(self._anchor_month)),
            "months": float(self._months),
            "offset": timedelta(milliseconds=self._offset),
        }

    def _number(self, instant: int) -> int:
        """The number of the period that contains `instant`. Number 0 contains the anchor."""
        if (length := self.fixed_ms) is not None:
            return (instant - self.anchor) // length
        return (_month_of(instant - self._offset) - _month_of(self._anchor_month)) // self._months

    def _sql_number(self, instant: str, *, earlier: int) -> str:
        """SQL for the number of the period that contains `instant`. It is counted from an arbitrary period. `earlier`
        is in milliseconds.
        """
        if self.fixed_ms is not None:
            return _FIXED.format(instant=instant, earlier=earlier)
        return _CALENDAR.format(moved=_MOVED.format(instant=instant, earlier=earlier))

    def _shift(self, count: int) -> int:
        """The start of the period that begins `count` periods after the anchor."""
        length = self.fixed_ms
        return shift(self.timeframe, self.anchor, count) if length is None else self.anchor + count * length

    @cached_property
    def fixed_ms(self) -> int | None:
        """The length of every period; None for months and years."""
        return self.length_ms or parse_timeframe(self.timeframe).fixed_ms

    @cached_property
    def _months(self) -> int:
        """The length of a period in calendar months. It is defined only for periods without a fixed length."""
        return parse_timeframe(self.timeframe).months or 1

    @cached_property
    def _anchor_month(self) -> int:
        """The start of the month to which the anchor belongs. See `contracts.timeframes.shift`."""
        return floor_open("1M", self.anchor + DAY_MS)

    @cached_property
    def _offset(self) -> int:
        """The time from midnight UTC on the first of a month to the open time of its candle. Never negative."""
        return max(0, self.anchor - self._anchor_month)


def _month_of(instant: int) -> int:
    date = datetime.fromtimestamp(instant / 1000, UTC)
    return date.year * 12 + date.month - 1
