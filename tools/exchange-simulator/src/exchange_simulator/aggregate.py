"""Candles in whole ticks and lots, and how coarser ones follow from finer ones.

Prices and volumes are integers here, so that an aggregate is exactly the aggregate of its parts and never a rounding.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from exchange_simulator.timeframes import Frame


class Candle(NamedTuple):
    """Prices in ticks and volume in lots, of the sizes that the series names as decimals."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int


def merge(open_ms: int, parts: Sequence[Candle]) -> Candle:
    """One candle of consecutive ones: open of the first, highest, lowest, close of the last, sum of the volumes."""
    return Candle(
        open_ms,
        parts[0].open,
        max([part.high for part in parts]),
        min([part.low for part in parts]),
        parts[-1].close,
        sum([part.volume for part in parts]),
    )


def group(frame: Frame, candles: Iterable[Candle]) -> list[Candle]:
    """Ascending finer candles as candles of `frame`; a grid cell without any candle yields none."""
    cells: dict[int, list[Candle]] = {}
    for candle in candles:
        cells.setdefault(frame.floor(candle.open_ms), []).append(candle)
    return [merge(open_ms, parts) for open_ms, parts in cells.items()]


def fixed(amount: int, decimals: int) -> str:
    """`4351934` with 2 decimals is `43519.34`, trailing zeros kept."""
    if decimals == 0:
        return str(amount)
    digits = str(amount).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


def trimmed(amount: int, decimals: int) -> str:
    """`4351900` with 2 decimals is `43519`: what exchanges write that drop trailing zeros."""
    text = fixed(amount, decimals)
    return text.rstrip("0").rstrip(".") if decimals else text


def eight_decimals(amount: int, decimals: int) -> str:
    """Binance's spot format: always at least eight decimals."""
    return fixed(amount * 10 ** (8 - decimals), 8) if decimals < 8 else fixed(amount, decimals)  # noqa: PLR2004
