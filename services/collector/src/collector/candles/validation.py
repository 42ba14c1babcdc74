"""Which rows of an exchange's answer are candles that we may keep. Pure: the exchange's time is an argument.

ccxt passes garbage on without a word: rows of nulls, of NaN, or of an HTML page's letters. One bad row makes the whole
answer suspect, so nothing of such an answer is kept.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from collector.exchange.traits import ExchangeTraits
from contracts.candles import Candle
from contracts.timeframes import DAY_MS, HOUR_MS, close_of, fixed_length, floor_open, parse_timeframe

FUTURE_TOLERANCE_MS: Final = 60_000
"""How far a candle's opening may lie ahead of what we take for the exchange's time."""

_WIDTH: Final = len(Candle._fields)


class InvalidRow(ValueError):  # noqa: N818 -- it names what was found
    """A row that no exchange means to send."""


@dataclass(frozen=True)
class Page:
    """What one answer holds. Both ascending, without duplicates."""

    opens: tuple[int, ...]
    """Open times of all rows, the still open candle's too: what paging goes by."""
    closed: tuple[Candle, ...]
    """The candles that will not change any more: what is kept."""


def read_page(traits: ExchangeTraits, timeframe: str, rows: Iterable[object], *, since: int, now: int) -> Page:
    """The answer to "from `since` on", asked at `now` by the exchange's time. Raises `InvalidRow`.

    Rows before `since` are dropped, the order does not matter, and a row may be there twice if it says the same. The
    open candle must have a sound open time; its numbers are not looked at, they are not kept.
    """
    may_open = grid_of(timeframe, utc_days=traits.utc_days, monday_weeks=traits.monday_weeks)
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


def grid_of(timeframe: str, *, utc_days: bool, monday_weeks: bool) -> Callable[[int], bool]:
    """A function that tells whether a candle may open at a given time, as far as that is certain.

    All exchanges count timeframes below a day from the epoch. `utc_days`: this exchange begins its days at midnight
    UTC. Some begin them at midnight in Asia; then only whole hours are certain. `monday_weeks`: it also begins its
    weeks on Monday.
    """
    parsed = parse_timeframe(timeframe)
    length = parsed.fixed_ms
    if length is not None and DAY_MS % length == 0 and length < DAY_MS:
        return lambda opens: opens % length == 0
    if not utc_days or (length is not None and length < DAY_MS):
        grain = HOUR_MS if length is None or length % HOUR_MS == 0 else 1000
        return lambda opens: opens % grain == 0
    if parsed.months is not None or (timeframe == "1w" and monday_weeks):
        first = "1w" if parsed.months is None else "1M"
        return lambda opens: opens == floor_open(first, opens)
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
        if type(number) is not float and type(number) is not int:  # a bool is no price
            raise InvalidRow(f"not a number: {row!r:.200}")
    candle = Candle(at, float(opening), float(high), float(low), float(close), float(volume))
    if not sound(candle):
        raise InvalidRow(f"not finite, or contradicting each other: {row!r:.200}")
    return candle


def sound(candle: Candle) -> bool:
    """Prices positive and finite, low below and high above both ends, volume not negative. False for any NaN."""
    _, opening, high, low, close, volume = candle
    return 0 < low <= opening <= high < inf and low <= close <= high and 0 <= volume < inf
