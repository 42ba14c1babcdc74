"""Which rows of an exchange's answer are candles that we may keep. Pure: the exchange's time is an argument.

ccxt passes garbage on without a word: rows of nulls, of NaN, or of an HTML page's letters. One bad row makes the whole
answer suspect, so nothing of such an answer is kept.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

from collector.timeframes import close_of, on_grid
from contracts.candles import Candle

FUTURE_TOLERANCE_MS: Final = 60_000
"""How far a candle's opening may lie ahead of what we take for the exchange's time."""

_UTC_DAYS: Final = frozenset({"binance", "bybit", "coinbase", "coinbaseexchange", "kraken", "okx"})
_MONDAY_WEEKS: Final = frozenset({"binance", "bybit", "okx"})


class InvalidRow(ValueError):  # noqa: N818 -- it names what was found
    """A row that no exchange means to send."""


@dataclass(frozen=True)
class Page:
    """What one answer holds. Both ascending, without duplicates."""

    opens: tuple[int, ...]
    """Open times of all rows, the still open candle's too: what paging goes by."""
    closed: tuple[Candle, ...]
    """The candles that will not change any more: what is kept."""


def read_page(exchange: str, timeframe: str, rows: Iterable[object], *, since: int, now: int) -> Page:
    """The answer to "from `since` on", asked at `now` by the exchange's time. Raises `InvalidRow`.

    Rows before `since` are dropped, the order does not matter, and a row may be there twice if it says the same. The
    open candle must have a sound open time; its numbers are not looked at, they are not kept.
    """
    utc_days, monday_weeks = exchange in _UTC_DAYS, exchange in _MONDAY_WEEKS
    opens: set[int] = set()
    closed: dict[int, Candle] = {}
    for row in rows:
        if not isinstance(row, Sequence) or isinstance(row, str) or len(row) < len(Candle._fields):
            raise InvalidRow(f"not a row of {len(Candle._fields)} values: {row!r:.100}")
        at = row[0]
        if not isinstance(at, int) or isinstance(at, bool):
            raise InvalidRow(f"the open time is not a whole number of milliseconds: {row!r:.100}")
        if not on_grid(timeframe, at, utc_days=utc_days, monday_weeks=monday_weeks):
            raise InvalidRow(f"no {timeframe} candle opens at {at}")
        if at > now + FUTURE_TOLERANCE_MS:
            raise InvalidRow(f"the candle that opens at {at} is {(at - now) / 1000:.0f} s in the future")
        if at < since:
            continue
        opens.add(at)
        if close_of(timeframe, at) <= now:
            candle = _candle(row)
            if closed.setdefault(at, candle) != candle:
                raise InvalidRow(f"two different candles open at {at}")
    return Page(tuple(sorted(opens)), tuple(closed[at] for at in sorted(closed)))


def _candle(row: Sequence[object]) -> Candle:
    at, *numbers = row[: len(Candle._fields)]
    for number in numbers:
        if not isinstance(number, int | float) or isinstance(number, bool) or not isfinite(number):
            raise InvalidRow(f"not a number: {row!r:.200}")
    candle = Candle(at, *map(float, numbers))  # type: ignore[arg-type] # checked just above
    if not sound(candle):
        raise InvalidRow(f"prices contradict each other: {row!r:.200}")
    return candle


def sound(candle: Candle) -> bool:
    """Prices positive, low below and high above both ends, volume not negative."""
    body_low, body_high = sorted((candle.open, candle.close))
    return 0 < candle.low <= body_low <= body_high <= candle.high and candle.volume >= 0
