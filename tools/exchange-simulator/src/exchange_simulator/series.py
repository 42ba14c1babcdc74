"""The types that candles pass through: a series, the window of a request, and a row as it is sent."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from exchange_simulator.aggregate import Candle
from exchange_simulator.timeframes import Frame

Span = tuple[int, int]
"""A half-open range of time in milliseconds: [start, end)."""

Writer = Callable[[int, int], str]
"""Formats a scaled integer, given the number of decimals. `aggregate` contains such functions."""


class Series(Protocol):
    """The candles that exist. Prices and volumes are scaled integers."""

    price_decimals: int
    volume_decimals: int
    span: Span
    """No candle lies outside this range of time."""

    def candles(self, frame: Frame, start_ms: int, stop_ms: int, now_ms: int) -> list[Candle]:
        """Ascending candles that open in [start, stop) and not after now. An open candle has the data up to now."""

    def between(self, start_ms: int, end_ms: int, now_ms: int) -> Candle | None:
        """The aggregate of the trades in [start, end) up to now. Both bounds are whole minutes."""


class Window(NamedTuple):
    """The request, as its dialect reads it: at most `limit` candles that open in [start, stop) and not after now."""

    start_ms: int
    stop_ms: int
    limit: int
    newest: bool
    """Whether the newest candles of the window are selected instead of the oldest."""
    now_ms: int
    since_given: bool = True
    """Whether the request names the start."""
    closed_only: bool = False
    newest_first: bool = False
    """The order of the rows in the reply."""


class Row(NamedTuple):
    """A candle as text, as it is sent. Values are None only if a mood has changed them."""

    open_ms: int
    open: str | None
    high: str | None
    low: str | None
    close: str | None
    volume: str | None


def without(span: Span, gaps: tuple[Span, ...]) -> list[Span]:
    """The parts of `span` that lie in no gap, ascending. The gaps may overlap."""
    start, end = span
    parts: list[Span] = []
    for gap_start, gap_end in sorted(gaps):
        if start < min(gap_start, end):
            parts.append((start, min(gap_start, end)))
        start = max(start, gap_end)
    return [*parts, (start, end)] if start < end else parts
