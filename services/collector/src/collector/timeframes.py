"""Timeframes on the calendar: how long a candle lasts, and where the next one opens.

Instants are milliseconds since the epoch, UTC. A month is a calendar month and a year twelve of them, so there is no
adding of a length for those; ccxt's own `parse_timeframe` says 30 and 365 days.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Final

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
_MONTHS: Final = {"M": 1, "y": 12}
_FIRST_MONDAY_MS: Final = 4 * DAY_MS
"""1970-01-05: where weeks are counted from. The epoch itself was a Thursday."""


def fixed_length(timeframe: str) -> int | None:
    """Milliseconds, or None where the calendar decides (months and years)."""
    amount, unit = _parse(timeframe)
    return amount * _UNIT_MS[unit] if unit in _UNIT_MS else None


def shortest_length(timeframe: str) -> int:
    """Milliseconds that a candle lasts at least."""
    amount, unit = _parse(timeframe)
    return amount * _UNIT_MS[unit] if unit in _UNIT_MS else amount * _MONTHS[unit] * 28 * DAY_MS


def floor_open(timeframe: str, instant: int) -> int:
    """When the candle that contains `instant` opens, on the usual grid: the epoch's, Mondays, firsts of a month."""
    amount, unit = _parse(timeframe)
    if unit in _MONTHS:
        months = amount * _MONTHS[unit]
        return _month_start(_month_of(instant) // months * months)
    length = amount * _UNIT_MS[unit]
    anchor = _FIRST_MONDAY_MS if unit == "w" else 0
    return (instant - anchor) // length * length + anchor


def shift(timeframe: str, opens: int, count: int) -> int:
    """The open time `count` candles after (or before) the one that opens at `opens`.

    For months, an open that is not on a first at midnight (an exchange that lives by another time zone) is led to the
    next month boundary of UTC or later: too late rather than too early, because this decides what is closed.
    """
    length = fixed_length(timeframe)
    if length is not None:
        return opens + count * length
    amount, unit = _parse(timeframe)
    month = _month_of(opens + DAY_MS)
    return _month_start(month + count * amount * _MONTHS[unit]) + max(0, opens - _month_start(month))


def close_of(timeframe: str, opens: int) -> int:
    """When the candle that opens at `opens` is over: the next one's open time."""
    return shift(timeframe, opens, 1)


def grid_of(timeframe: str, *, utc_days: bool, monday_weeks: bool) -> Callable[[int], bool]:
    """Says of an open time whether a candle may open then, as far as that is certain.

    Below a day, every exchange follows the epoch. `utc_days`: this exchange's days begin at midnight UTC (some begin
    at midnight in Asia: then only whole hours are certain). `monday_weeks`: and its weeks on Monday (Kraken's do not).
    """
    amount, unit = _parse(timeframe)
    length = fixed_length(timeframe)
    if length is not None and DAY_MS % length == 0 and length < DAY_MS:
        return lambda opens: opens % length == 0
    if not utc_days or (length is not None and length < DAY_MS):
        grain = HOUR_MS if length is None or length % HOUR_MS == 0 else 1000
        return lambda opens: opens % grain == 0
    if unit in _MONTHS or (unit == "w" and amount == 1 and monday_weeks):
        first = "1M" if unit in _MONTHS else timeframe
        return lambda opens: opens == floor_open(first, opens)
    return lambda opens: opens % DAY_MS == 0


@cache
def _parse(timeframe: str) -> tuple[int, str]:
    return int(timeframe[:-1]), timeframe[-1]


def _month_of(instant: int) -> int:
    """Months since year 0."""
    date = datetime.fromtimestamp(instant / 1000, UTC)
    return date.year * 12 + date.month - 1


def _month_start(month: int) -> int:
    return int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1000
