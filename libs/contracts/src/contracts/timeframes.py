"""Timeframes: the length of a candle, the open time of the next candle, and the order of timeframes by length.

This is the only parser of timeframes. A timeframe is ccxt's text: an amount and a unit, such as `5m` or `1M`. Units are
`s`, `m` (minute), `h`, `d`, `w`, `M` (calendar month) and `y` (calendar year).

Instants and lengths are integers in milliseconds; instants count from the Unix epoch, in UTC. A month is a calendar
month and a year is twelve of them, so neither has a fixed length. ccxt's `parse_timeframe` takes 30 and 365 days.

All functions except `timeframe_order` raise `ValueError` for a text that is not a timeframe.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from math import inf
from typing import Final

TIMEFRAME_PATTERN: Final = r"^([1-9][0-9]{0,2}[smhdw]|[1-9][0-9]?M|[1-9]y)$"
"""Regular expression of a timeframe: an amount and a unit, at most 20 years. ASCII digits only."""

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
_UNIT_MONTHS: Final = {"M": 1, "y": 12}
_UNIT_DAYS: Final = {"M": (28, 30, 31), "y": (365, 365, 366)}
"""The shortest, nominal and longest length of a calendar unit, in days."""
_FIRST_MONDAY_MS: Final = 4 * DAY_MS
"""1970-01-05, from which weeks are counted. The epoch itself was a Thursday."""


@dataclass(frozen=True, slots=True)
class ParsedTimeframe:
    """A timeframe in numbers. Exactly one of `fixed_ms` and `months` is set."""

    amount: int
    unit: str
    """One of `s m h d w M y`."""
    fixed_ms: int | None
    """The length of every candle, in milliseconds; None for months and years."""
    months: int | None
    """The length in calendar months; None for units of fixed length."""
    shortest_ms: int
    """No candle is shorter than this, in milliseconds."""
    nominal_ms: int
    """The length in milliseconds with 30 days a month and 365 days a year, as ccxt takes it."""
    longest_ms: int
    """No candle is longer than this, in milliseconds."""


@cache
def parse_timeframe(timeframe: str) -> ParsedTimeframe:
    """The timeframe in numbers. Raises `ValueError` for a text that does not match `TIMEFRAME_PATTERN`."""
    if not re.fullmatch(TIMEFRAME_PATTERN, timeframe):
        raise ValueError(f"{timeframe!r} is no timeframe; write an amount and one of s m h d w M y, such as 5m or 1M")
    amount, unit = int(timeframe[:-1]), timeframe[-1]
    if unit in _UNIT_MS:
        length = amount * _UNIT_MS[unit]
        return ParsedTimeframe(amount, unit, length, None, length, length, length)
    shortest, nominal, longest = (amount * days * DAY_MS for days in _UNIT_DAYS[unit])
    return ParsedTimeframe(amount, unit, None, amount * _UNIT_MONTHS[unit], shortest, nominal, longest)


def fixed_length(timeframe: str) -> int | None:
    """The length of every candle in milliseconds; None for months and years, whose length depends on the calendar."""
    return parse_timeframe(timeframe).fixed_ms


def shortest_length(timeframe: str) -> int:
    """The length of the shortest candle, in milliseconds: 28 days for a month, 365 for a year."""
    return parse_timeframe(timeframe).shortest_ms


def longest_length(timeframe: str) -> int:
    """The length of the longest candle, in milliseconds: 31 days for a month, 366 for a year."""
    return parse_timeframe(timeframe).longest_ms


def timeframe_order(timeframe: str) -> tuple[float, str]:
    """A sort key from short to long: the nominal length in milliseconds, then the text for equal lengths.

    A text that is not a timeframe comes last, so that a list with such a text can still be shown.
    """
    try:
        return parse_timeframe(timeframe).nominal_ms, timeframe
    except ValueError:
        return inf, timeframe


def floor_open(timeframe: str, instant: int) -> int:
    """The open time of the candle that contains `instant`, on the usual grid.

    Weeks begin on Monday and months on the first, at midnight UTC. All other candles are counted from the epoch.
    """
    parsed = parse_timeframe(timeframe)
    if parsed.months is not None:
        return _month_start(_month_of(instant) // parsed.months * parsed.months)
    length = parsed.shortest_ms
    anchor = _FIRST_MONDAY_MS if parsed.unit == "w" else 0
    return (instant - anchor) // length * length + anchor


def shift(timeframe: str, opens: int, count: int) -> int:
    """The open time `count` candles after the one that opens at `opens`; before it if `count` is negative.

    An exchange in another time zone opens its months at another time than midnight UTC on the first. The result is then
    at the next month boundary of UTC or later. So such a candle counts as closed too late, but never too early, which
    would do more harm.
    """
    parsed = parse_timeframe(timeframe)
    if parsed.months is None:
        return opens + count * parsed.shortest_ms
    month = _month_of(opens + DAY_MS)
    return _month_start(month + count * parsed.months) + max(0, opens - _month_start(month))


def close_of(timeframe: str, opens: int) -> int:
    """The time at which the candle that opens at `opens` ends: the open time of the next one."""
    return shift(timeframe, opens, 1)


def _month_of(instant: int) -> int:
    """The number of months since year 0."""
    date = datetime.fromtimestamp(instant / 1000, UTC)
    return date.year * 12 + date.month - 1


def _month_start(month: int) -> int:
    return int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1000
