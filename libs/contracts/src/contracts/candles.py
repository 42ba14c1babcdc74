"""Collected candles. Topic `candles`, keyed by exchange|symbol|timeframe."""

from typing import Literal, NamedTuple
from uuid import UUID

from pydantic import Field
from typing_extensions import override

from contracts.event import Event, Instant
from contracts.vocabulary import ExchangeId, Symbol, Timeframe

MAX_CANDLES_PER_EVENT = 1000
"""About 60 KB of JSON, well below Kafka's default limit of 1 MB per message."""


class Candle(NamedTuple):
    """One closed candle, in ccxt's order. Prices are in the quote currency, the volume usually in the base currency."""

    open_ms: int
    """Open time, milliseconds since the epoch, UTC."""
    open: float
    high: float
    low: float
    close: float
    volume: float


class CandlesCollected(Event):
    """A collector fetched closed candles of one series, in ascending order of open time and without duplicates."""

    type: Literal["CandlesCollected"] = "CandlesCollected"
    run_id: UUID = Field(description="The run that fetched them.")
    exchange: ExchangeId
    symbol: Symbol
    timeframe: Timeframe
    fetched_at: Instant = Field(description="When the exchange responded. An older fetch never overwrites a newer one.")
    rows: tuple[Candle, ...] = Field(
        min_length=1,
        max_length=MAX_CANDLES_PER_EVENT,
        description="[open time in ms, open, high, low, close, volume], in ascending order, without duplicates.",
    )

    @override
    def key(self) -> str:
        return f"{self.exchange}|{self.symbol}|{self.timeframe}"
