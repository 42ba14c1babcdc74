"""Collected candles. Topic `candles`, keyed by exchange|symbol|timeframe."""

from operator import itemgetter
from typing import Annotated, Final, Literal, NamedTuple, Self
from uuid import UUID

from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import override

from contracts.bounds import END_OF_MILLISECONDS, FIRST_INSTANT, MAX_BIGINT, MAX_CLOCK_DIFFERENCE
from contracts.coverage import Absence, RejectedRow, Span, to_instant
from contracts.event import SCHEMA_VERSION_DESCRIPTION, Event, Instant, SchemaVersion
from contracts.vocabulary import CandleSource, ExchangeId, Symbol, Timeframe

MAX_CANDLES_PER_EVENT = 1000
"""The largest number of candles in an event. They take about 60 KB of JSON, well below Kafka's default limit of 1 MB
per message.
"""


_open_ms: Final = itemgetter(0)

MAX_SPANS_PER_EVENT: Final = 500
MAX_REJECTED_ROWS_PER_EVENT: Final = 200
"""The largest number of rejected rows in an event. A row and its reason have up to 800 characters, and twice as many as
JSON.
"""


class Candle(NamedTuple):
    """One closed candle, in ccxt's order. Prices are in the quote currency, the volume usually in the base currency."""

    open_ms: Annotated[int, Field(ge=0, lt=END_OF_MILLISECONDS)]
    """Open time, milliseconds since the epoch, UTC."""
    open: FiniteFloat
    high: FiniteFloat
    low: FiniteFloat
    close: FiniteFloat
    volume: FiniteFloat


class Activity(NamedTuple):
    """The values of a candle that only some exchanges send.

    A value is None if the exchange did not send it, or if it is not valid.
    """

    trades: int | None = None
    """The number of trades in the candle."""
    quote_volume: float | None = None
    """The traded volume in the quote currency."""


NO_ACTIVITY: Final = Activity()

TradeCount = Annotated[int, Field(ge=0, le=MAX_BIGINT)]
QuoteVolume = Annotated[FiniteFloat, Field(ge=0)]


class CandlesCollected(Event):
    """A collector read an answer about one series: its closed candles, and the spans that it vouches for."""

    schema_version: SchemaVersion = Field(default=2, description=SCHEMA_VERSION_DESCRIPTION)
    type: Literal["CandlesCollected"] = "CandlesCollected"
    run_id: UUID = Field(description="The run that fetched them.")
    exchange: ExchangeId
    symbol: Symbol
    timeframe: Timeframe
    fetched_at: Instant = Field(description="When the exchange responded. An older fetch never overwrites a newer one.")
    source: CandleSource = Field(
        default=CandleSource.EXCHANGE,
        description="The origin of the rows and of the verified spans. The exchange's own candle replaces one from "
        "trades, never the reverse.",
    )
    rows: tuple[Candle, ...] = Field(
        default=(),
        max_length=MAX_CANDLES_PER_EVENT,
        description="[open time in ms, open, high, low, close, volume], in ascending order, without duplicates. May be "
        "empty.",
    )
    trades: tuple[TradeCount | None, ...] = Field(
        default=(),
        max_length=MAX_CANDLES_PER_EVENT,
        description="The number of trades of each row, in the order of `rows`. Null: not known. Empty: for none.",
    )
    quote_volumes: tuple[QuoteVolume | None, ...] = Field(
        default=(),
        max_length=MAX_CANDLES_PER_EVENT,
        description="The volume of each row in the quote currency, in the order of `rows`. Null: not known. Empty: for "
        "none.",
    )
    verified: tuple[Span, ...] = Field(
        default=(),
        max_length=MAX_SPANS_PER_EVENT,
        description="The spans that the answer vouches for: all candles in them are stored, by this event or before.",
    )
    absences: tuple[Absence, ...] = Field(
        default=(),
        max_length=MAX_SPANS_PER_EVENT,
        description="Spans that the run could not verify, with the reason and the evidence.",
    )
    rejected: tuple[RejectedRow, ...] = Field(
        default=(),
        max_length=MAX_REJECTED_ROWS_PER_EVENT,
        description="Rows that cannot be candles and that the exchange repeated.",
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.rows or self.verified or self.absences or self.rejected):
            raise ValueError("the event has neither candles nor spans nor rejected rows")
        return self

    @model_validator(mode="after")
    def _every_row_has_its_values(self) -> Self:
        """Check that each list has one value per row. These values are separate from the rows, so that an earlier
        release that expects rows of six values can read the rows.
        """
        for values in (self.trades, self.quote_volumes):
            if values and len(values) != len(self.rows):
                raise ValueError("trades and quote_volumes must be empty or have one value for each row")
        return self

    @model_validator(mode="after")
    def _candles_are_not_after_the_fetch(self) -> Self:
        """Refuse candles that open after the fetch. Otherwise one wrong candle would be the newest one of its series
        indefinitely.
        """
        latest = max((span.end for span in self.verified), default=FIRST_INSTANT)
        if self.rows:
            latest = max(latest, to_instant(max(map(_open_ms, self.rows))))
        if latest > self.fetched_at + MAX_CLOCK_DIFFERENCE:
            raise ValueError(f"a candle or a verified span ({latest}) is later than fetched_at")
        return self

    @override
    def key(self) -> str:
        return f"{self.exchange}|{self.symbol}|{self.timeframe}"
