"""Collected candles. Topic `candles`, keyed by exchange|symbol|timeframe."""

from typing import Final, Literal, NamedTuple, Self
from uuid import UUID

from pydantic import Field, model_validator
from typing_extensions import override

from contracts.coverage import Absence, RejectedRow, Span
from contracts.event import SCHEMA_VERSION_DESCRIPTION, Event, Instant
from contracts.vocabulary import ExchangeId, Symbol, Timeframe

MAX_CANDLES_PER_EVENT = 1000
"""About 60 KB of JSON, well below Kafka's default limit of 1 MB per message."""


MAX_SPANS_PER_EVENT: Final = 500
MAX_REJECTED_ROWS_PER_EVENT: Final = 200
"""A row and its reason have up to 800 characters, which JSON may double."""


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
    """A collector read an answer about one series: its closed candles, and the spans that it vouches for."""

    schema_version: int = Field(default=2, description=SCHEMA_VERSION_DESCRIPTION)
    type: Literal["CandlesCollected"] = "CandlesCollected"
    run_id: UUID = Field(description="The run that fetched them.")
    exchange: ExchangeId
    symbol: Symbol
    timeframe: Timeframe
    fetched_at: Instant = Field(description="When the exchange responded. An older fetch never overwrites a newer one.")
    rows: tuple[Candle, ...] = Field(
        default=(),
        max_length=MAX_CANDLES_PER_EVENT,
        description="[open time in ms, open, high, low, close, volume], in ascending order, without duplicates. May be "
        "empty.",
    )
    verified: tuple[Span, ...] = Field(
        default=(),
        description="The spans that the answer vouches for: all candles in them are stored, by this event or before.",
    )
    absences: tuple[Absence, ...] = Field(
        default=(), description="Spans that the run could not verify, with the reason and the evidence."
    )
    rejected: tuple[RejectedRow, ...] = Field(
        default=(), description="Rows that cannot be candles and that the exchange repeated."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.rows or self.verified or self.absences or self.rejected):
            raise ValueError("the event has neither candles nor spans nor rejected rows")
        return self

    @override
    def key(self) -> str:
        return f"{self.exchange}|{self.symbol}|{self.timeframe}"
