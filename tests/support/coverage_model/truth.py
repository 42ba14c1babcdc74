"""The candles that exist in one series, the times of their publication, and the rows that are not candles."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import cycle
from typing import Any

from contracts.candles import Candle
from contracts.timeframes import close_of, floor_open, shift

MINUTE_MS = 60_000
_UNFINISHED_VOLUME = 4.0


class BadKind(StrEnum):
    """Why a row is not a candle."""

    INVERTED = "inverted"
    """The high is below the low."""
    ZEROS = "zeros"
    NULLS = "nulls"
    TWO_ROWS = "two rows"
    """Two rows with the same open time have different values."""
    OFF_GRID = "off grid"
    """It opens some seconds after a regular open time."""
    ONCE = "once"
    """It is bad in the first answer only."""


@dataclass(frozen=True)
class Trading:
    """When a market trades. Counts are in candles."""

    pattern: tuple[tuple[int, int], ...] = ((1, 0),)
    """Pairs of candles with trades and candles without, repeated from the listing on."""
    listed: int = 0
    """The market is listed this number of candles after the first one."""
    delisted: int | None = None
    """The number of candles after which trading ends."""
    late_every: int = 0
    """If n, every n-th candle is published late. 0: none."""
    late_minutes: int = 0
    bad_every: int = 0
    """If n, every n-th candle is sent as a row that cannot be a candle. 0: none."""
    bad: BadKind = BadKind.INVERTED
    mended_after: int | None = None
    """The bad rows are correct when they are this number of candles old. None: never."""


@dataclass
class SeriesTruth:
    """The candles of one series. Build it with `truth_of`."""

    timeframe: str
    opens: Sequence[int]
    """Ascending. Open times of all candles that exist, now or later."""
    late: dict[int, int] = field(default_factory=dict)
    """Open time to the delay of its publication after its close, in milliseconds."""
    bad: dict[int, BadKind] = field(default_factory=dict)
    bad_ms: int | None = None
    """The age at which bad rows are correct."""

    def __post_init__(self) -> None:
        self.exists = frozenset(self.opens)

    def close_of(self, opens: int) -> int:
        return close_of(self.timeframe, opens)

    def published_at(self, opens: int) -> int:
        """From this time on the exchange sends the candle. It sends the open candle as well, if that is not late."""
        late = self.late.get(opens)
        return opens if late is None else self.close_of(opens) + late

    def is_bad(self, opens: int, now: int) -> bool:
        return opens in self.bad and (self.bad_ms is None or now < self.close_of(opens) + self.bad_ms)

    def between(self, start: int, end: int) -> Sequence[int]:
        """The candles that open from `start` up to, but not including, `end`."""
        return self.opens[bisect_left(self.opens, start) : bisect_left(self.opens, end)]


def truth_of(timeframe: str, start: int, end: int, trading: Trading) -> SeriesTruth:
    """The candles from the one that contains `start` up to `end`."""
    slots = _slots(timeframe, start, end)
    traded: list[int] = []
    pairs = cycle(trading.pattern)
    position, last = trading.listed, min(len(slots), trading.delisted or len(slots))
    while position < last:
        busy, silent = next(pairs)
        traded += slots[position : min(position + busy, last)]
        position += max(1, busy + silent)
    late = dict.fromkeys(_every(traded, trading.late_every), trading.late_minutes * MINUTE_MS)
    bad = dict.fromkeys(_every(traded[1:], trading.bad_every), trading.bad)
    mended = trading.mended_after
    bad_ms = None if mended is None else mended * (slots[1] - slots[0] if len(slots) > 1 else 0)
    return SeriesTruth(timeframe, traded, late, bad, bad_ms)


def candle_at(opens: int) -> Candle:
    """The final values of the candle."""
    price = 100.0 + opens // MINUTE_MS % 97
    return Candle(opens, price, price + 2, price - 2, price + 1, 10.0)


def unfinished_row(opens: int) -> list[Any]:
    """The row of a candle that is still open on the exchange, with the trades so far."""
    return [*candle_at(opens)[:-1], _UNFINISHED_VOLUME]


def is_unfinished(candle: Candle) -> bool:
    return candle.volume == _UNFINISHED_VOLUME


def bad_rows(opens: int, kind: BadKind) -> list[list[Any]]:
    candle = candle_at(opens)
    match kind:
        case BadKind.INVERTED | BadKind.ONCE:
            return [[opens, candle.open, candle.low, candle.high, candle.close, 10.0]]
        case BadKind.ZEROS:
            return [[opens, 0, 0, 0, 0, 0]]
        case BadKind.NULLS:
            return [[opens, None, None, None, None, None]]
        case BadKind.TWO_ROWS:
            return [list(candle), [*candle[:-1], 11.0]]
        case BadKind.OFF_GRID:
            return [[opens + 15_000, *candle[1:]]]


def _slots(timeframe: str, start: int, end: int) -> list[int]:
    slots = [floor_open(timeframe, start)]
    step = close_of(timeframe, slots[0]) - slots[0]
    if timeframe[-1] not in "My":
        return list(range(slots[0], end, step))
    while slots[-1] < end:
        slots.append(shift(timeframe, slots[-1], 1))
    return slots[:-1]


def _every(opens: Sequence[int], count: int) -> Sequence[int]:
    return opens[count - 1 :: count] if count else ()
