"""Candles in integer ticks and lots, and their aggregation to coarser timeframes.

Prices and volumes are integers, so that aggregates are exact, without rounding.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from exchange_simulator.timeframes import Frame


class Candle(NamedTuple):
    """Prices are in ticks and the volume in lots. The series has the number of decimals of both."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int


def merge(open_ms: int, parts: Sequence[Candle]) -> Candle:
    """The aggregate of consecutive candles: first open, highest high, lowest low, last close, sum of the volumes."""
    return Candle(
        open_ms,
        parts[0].open,
        max([part.high for part in parts]),
        min([part.low for part in parts]),
        parts[-1].close,
        sum([part.volume for part in parts]),
    )


def group(frame: Frame, candles: Iterable[Candle]) -> list[Candle]:
    """Aggregates ascending candles to candles of `frame`. A time range without candles gives none."""
    cells: dict[int, list[Candle]] = {}
    for candle in candles:
        cells.setdefault(frame.floor(candle.open_ms), []).append(candle)
    return [merge(open_ms, parts) for open_ms, parts in cells.items()]


def fixed(amount: int, decimals: int) -> str:
    """`4351934` with 2 decimals is `43519.34`. Trailing zeros are kept."""
    if decimals == 0:
        return str(amount)
    digits = str(amount).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


def trimmed(amount: int, decimals: int) -> str:
    """`4351900` with 2 decimals is `43519`, for exchanges that omit trailing zeros."""
    text = fixed(amount, decimals)
    return text.rstrip("0").rstrip(".") if decimals else text


def eight_decimals(amount: int, decimals: int) -> str:
    """Binance's spot format, with at least eight decimals."""
    return fixed(amount * 10 ** (8 - decimals), 8) if decimals < 8 else fixed(amount, decimals)  # noqa: PLR2004
