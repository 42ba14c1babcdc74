"""Rows that cannot be candles, as exchanges have sent them."""

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum

from exchange_simulator.series import Row


class Variant(StrEnum):
    """The error in a row."""

    NULLS = "nulls"
    NAN = "nan"
    HIGH_BELOW_LOW = "high_below_low"
    UNALIGNED = "unaligned"
    """Off the grid: 17 seconds after the open time."""
    DUPLICATE = "duplicate"
    """The same row twice. Both agree, so the candle is possible."""
    OPEN_BELOW_LOW = "open_below_low"
    ZEROS = "zeros"
    NEGATIVE_VOLUME = "negative_volume"
    DISAGREEING = "disagreeing"
    """Two rows of one candle with different volumes."""
    MIXED = "mixed"
    """All other variants in turn."""


_OTHERS = [variant for variant in Variant if variant is not Variant.MIXED]


def variant_in_turn(variant: Variant, turn: int) -> Variant:
    return _OTHERS[turn % len(_OTHERS)] if variant is Variant.MIXED else variant


def spoil(row: Row, variant: Variant) -> list[Row]:
    """The rows that replace `row`. `variant` must not be MIXED."""
    return _SPOILT[variant](row)


def _high_below_low(row: Row) -> list[Row]:
    return [row._replace(high="0" if row.high == row.low else row.low, low=row.high)]


def _one_unit(number: str | None, units: int) -> str:
    """The number plus some units of its last decimal."""
    value = Decimal(number or "0")
    exponent = value.as_tuple().exponent
    return f"{value + Decimal(units).scaleb(exponent if isinstance(exponent, int) else 0):f}"


_SPOILT: dict[Variant, Callable[[Row], list[Row]]] = {
    Variant.NULLS: lambda row: [Row(row.open_ms, None, None, None, None, None)],
    Variant.NAN: lambda row: [row._replace(open="NaN", high="NaN", low="NaN", close="NaN")],
    Variant.HIGH_BELOW_LOW: _high_below_low,
    Variant.UNALIGNED: lambda row: [row._replace(open_ms=row.open_ms + 17_000)],
    Variant.DUPLICATE: lambda row: [row, row],
    Variant.OPEN_BELOW_LOW: lambda row: [row._replace(open=_one_unit(row.low, -1))],
    Variant.ZEROS: lambda row: [Row(row.open_ms, "0", "0", "0", "0", "0")],
    Variant.NEGATIVE_VOLUME: lambda row: [
        row._replace(volume=f"-{row.volume}" if row.volume and row.volume.strip("0.") else "-1")
    ],
    Variant.DISAGREEING: lambda row: [row, row._replace(volume=_one_unit(row.volume, 1))],
}
