"""Which rows of an exchange's response are valid candles. Pure: the exchange's time is an argument.

ccxt returns invalid rows without an error: rows of nulls, of NaN, or of the letters of an HTML page. One invalid row
makes the whole response unreliable, so no row of such a response is kept.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from collector.exchange.traits import ExchangeTraits
from contracts.candles import Candle
from contracts.timeframes import DAY_MS, HOUR_MS, close_of, fixed_length, floor_open, parse_timeframe

FUTURE_TOLERANCE_MS: Final = 60_000
"""How far a candle's open time may be ahead of the estimated time of the exchange."""

_WIDTH: Final = len(Candle._fields)


class InvalidRow(ValueError):  # noqa: N818 -- the name states the problem
    """A row that is no valid candle."""


@dataclass(frozen=True)
class Page:
    """The content of one response. Both fields are ascending, without duplicates."""

    opens: tuple[int, ...]
    """Open times of all rows, including the open candle. Paging uses them."""
    closed: tuple[Candle, ...]
    """The closed candles, which do not change any more. Only these are stored."""


def read_page(traits: ExchangeTraits, timeframe: str, rows: Iterable[object], *, since: int, now: int) -> Page:
    """Validate the response to a request for candles from `since` on, sent at `now` on the exchange's clock.

    Raises `InvalidRow`. Rows before `since` are dropped. Rows may be in any order, and equal duplicates are allowed.
    The open candle needs a valid open time only; its numbers are not stored and not checked.
    """
    may_open = open_time_check(timeframe, utc_days=traits.utc_days, monday_weeks=traits.monday_weeks)
    newest = now + FUTURE_TOLERANCE_MS
    length = fixed_length(timeframe)
    opens: set[int] = set()
    closed: dict[int, Candle] = {}
    for row in rows:
        at = _open_time(row)
        if not may_open(at):
            raise InvalidRow(f"no {timeframe} candle opens at {at}")
        if at > newest:
            raise InvalidRow(f"the candle that opens at {at} is {(at - now) / 1000:.0f} s in the future")
        if at < since:
            continue
        opens.add(at)
        if (at + length if length is not None else close_of(timeframe, at)) <= now:
            candle = _candle(row)
            if closed.setdefault(at, candle) != candle:
                raise InvalidRow(f"two different candles open at {at}")
    return Page(tuple(sorted(opens)), tuple(closed[at] for at in sorted(closed)))


def open_time_check(timeframe: str, *, utc_days: bool, monday_weeks: bool) -> Callable[[int], bool]:
    """A function that returns false for times (ms) at which certainly no candle opens.

    All exchanges count timeframes below a day from the epoch. `utc_days`: the exchange's days begin at midnight UTC.
    Some exchanges begin them at midnight in Asia; then only whole hours are certain. `monday_weeks`: its weeks also
    begin on Monday.
    """
    parsed = parse_timeframe(timeframe)
    length = parsed.fixed_ms
    if length is not None and DAY_MS % length == 0 and length < DAY_MS:
        return lambda opens: opens % length == 0
    if not utc_days or (length is not None and length < DAY_MS):
        unit = HOUR_MS if length is None or length % HOUR_MS == 0 else 1000
        return lambda opens: opens % unit == 0
    if parsed.months is not None or (timeframe == "1w" and monday_weeks):
        calendar_unit = "1w" if parsed.months is None else "1M"
        return lambda opens: opens == floor_open(calendar_unit, opens)
    return lambda opens: opens % DAY_MS == 0


def _open_time(row: Any) -> int:
    if not isinstance(row, list | tuple) or len(row) < _WIDTH:
        raise InvalidRow(f"not a row of {_WIDTH} values: {row!r:.100}")
    at = row[0]
    if type(at) is not int:
        raise InvalidRow(f"the open time is not a whole number of milliseconds: {row!r:.100}")
    return at


def _candle(row: Any) -> Candle:
    at, opening, high, low, close, volume, *_ = row
    for number in (opening, high, low, close, volume):
        if type(number) is not float and type(number) is not int:  # excludes bool
            raise InvalidRow(f"not a number: {row!r:.200}")
    candle = Candle(at, float(opening), float(high), float(low), float(close), float(volume))
    if not is_consistent(candle):
        raise InvalidRow(f"numbers that are not finite or contradict each other: {row!r:.200}")
    return candle


def is_consistent(candle: Candle) -> bool:
    """Whether prices are positive and finite, low <= open, close <= high, and the volume is not negative. False for any
    NaN.
    """
    _, opening, high, low, close, volume = candle
    return 0 < low <= opening <= high < inf and low <= close <= high and 0 <= volume < inf
