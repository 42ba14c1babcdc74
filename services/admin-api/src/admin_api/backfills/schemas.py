"""The request and response bodies of backfills."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from admin_api.configs.bulk_schemas import MAX_ITEMS, Selector
from admin_api.http.input_types import BodyInstant, Description, FilterText, StrictInput, TimeframeTexts

MAX_SERIES: Final = 5_000
"""The largest number of series of one backfill."""
_NULL: Final[JsonDict] = {"type": "null"}
_SELECT_OR_SERIES: Final[JsonDict] = {
    "oneOf": [
        {"required": ["select"], "properties": {"select": {"type": "object"}, "series": _NULL}},
        {"required": ["series"], "properties": {"series": {"type": "array"}, "select": _NULL}},
    ]
}
"""The rule of the validator `_select_or_series`, as JSON Schema."""

Mode = Literal["missing", "all"]
State = Literal["active", "paused", "cancelled"]
Source = Literal["candles", "trades"]
ChunkState = Literal["waiting", "requested", "failed", "verified", "classified", "cancelled"]
_SOURCE: Final = (
    "`candles`: the exchange's own candles. `trades`: where the exchange has no candles any more, they are built from "
    "its trades. They count only if the candles from trades equal the exchange's own candles where it has both."
)


class SeriesKey(StrictInput):
    """One series. A config must collect it."""

    exchange: FilterText = Field(examples=["binance"])
    symbol: FilterText = Field(examples=["BTC/USDT"])
    timeframe: FilterText = Field(examples=["1m"])


class NewBackfill(StrictInput):
    """A range to collect, of the configs or the series that are selected."""

    select: Selector | None = Field(default=None, description="All series of these configs.")
    series: Annotated[list[SeriesKey], Field(min_length=1, max_length=MAX_ITEMS)] | None = Field(
        default=None, description="These series."
    )
    timeframes: TimeframeTexts | None = Field(default=None, description="Only these timeframes of the selection.")
    start: BodyInstant | None = Field(
        default=None,
        description="The start of the range; UTC without a time zone. Null: the listing of each market.",
    )
    end: BodyInstant | None = Field(
        default=None, description="The end of the range. Null, or a later time than now: now."
    )
    mode: Mode = Field(
        default="missing",
        description="`missing`: the time that is not verified. `all`: the whole range is read again.",
    )
    source: Source = Field(default="candles", description=_SOURCE)
    description: Description | None = None
    dry_run: bool = Field(default=False, description="Only answer the estimate; create nothing.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"select": {"exchange": "binance"}, "start": "2026-01-01T00:00:00Z", "dry_run": True}],
            **_SELECT_OR_SERIES,
        }
    )

    @model_validator(mode="after")
    def _select_or_series(self) -> Self:
        if (self.select is None) == (self.series is None):
            raise ValueError("name either `select` (configs) or `series`")
        return self

    @model_validator(mode="after")
    def _trades_have_a_start(self) -> Self:
        if self.source == "trades" and self.mode == "all":
            raise ValueError("`source: trades` builds missing candles only; leave out `mode: all`")
        if self.source == "trades" and self.start is None:
            raise ValueError("`source: trades` needs a `start`: time before the listing would cost many requests")
        return self

    def selector(self) -> dict[str, Any]:
        """The selection as it was requested, as JSON."""
        return self.model_dump(mode="json", include={"select", "series", "timeframes"}, exclude_none=True)


class Backfill(BaseModel):
    """A range of series that a person ordered."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    state: State = Field(description="A paused backfill gets no new chunks. `cancelled` is final.")
    mode: Mode
    source: Source = Field(description=_SOURCE)
    selector: dict[str, Any] = Field(description="The selection as it was requested.")
    start: datetime | None = Field(description="Null: the listing of each market.")
    end: datetime
    series: int = Field(description="The number of series, found when the backfill was created.")
    description: str | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    version: int = Field(description="Every change raises it.")


class NeverAvailable(BaseModel):
    """Candles that can no longer be requested, for all series of an exchange and timeframe."""

    exchange: str
    timeframe: str
    absence_class: str = Field(
        description="`beyond_horizon`: the exchange keeps only the newest candles. Otherwise the class of absence in "
        "the ledger, such as `delisted`.",
        examples=["beyond_horizon"],
    )
    reason: str = Field(description="The reason in words.")
    series: int = Field(description="The number of series.")
    candles: int
    start: datetime = Field(description="The start of the first of these spans.")
    end: datetime = Field(description="The end of the last of these spans.")


class TradesEstimate(BaseModel):
    """The part of the cost for candles that are built from trades. The other numbers contain it."""

    series: int = Field(description="The series with time of which the exchange has no candles.")
    candles: int = Field(description="The candles of this time. Quiet markets have fewer.")
    requests: int = Field(
        description="The requests for trades, and for comparing them with the exchange's own candles."
    )
    weight: float
    series_of_unknown_cost: int = Field(
        description="Series without a known number of trades. Their requests and weight are unknown and not included."
    )
    basis: str = Field(description="How the numbers are estimated.")


class ExchangeEstimate(BaseModel):
    """The cost for one exchange."""

    exchange: str
    series: int
    candles: int
    requests: int
    weight: float = Field(description="The sum of the weights of the requests, in units of ccxt's rate limit.")
    rate_limit_ms: float | None = Field(description="The time in milliseconds that a weight of 1 takes; null: unknown.")
    duration_seconds: float | None = Field(
        description="`weight` times `rate_limit_ms`: the duration if the exchange answers at once and no other work "
        "waits. Null: unknown."
    )
    from_trades: TradesEstimate | None = Field(
        default=None, description="Null: nothing is built from trades. If its cost is unknown, the duration is too."
    )


class Estimate(BaseModel):
    """The cost of collecting the missing time, and the candles that can no longer be collected."""

    series: int
    candles: int = Field(description="The candles of the missing time. Quiet markets have fewer.")
    requests: int = Field(
        description="Each covers one page of the exchange, less two candles that join the pages. One more for each "
        "missing span that the exchange no longer offers: its answer proves the loss."
    )
    weight: float
    duration_seconds: float | None = Field(
        description="The longest duration of an exchange: exchanges work side by side. Null: one of them is unknown."
    )
    disk_bytes: int = Field(description="The size of the candles with their index, by the usual size of a row.")
    is_upper_bound: bool = Field(
        description="The range begins before the first known candle of a series. The market may be younger, and then "
        "fewer requests are necessary."
    )
    exchanges: list[ExchangeEstimate]
    never_available: list[NeverAvailable]


class DryRun(BaseModel):
    """The effect that the backfill would have."""

    dry_run: Literal[True] = True
    start: datetime | None
    end: datetime
    mode: Mode
    source: Source
    estimate: Estimate


class ChunkCounts(BaseModel):
    """The chunks of the backfill, by state."""

    waiting: int = 0
    requested: int = 0
    failed: int = 0
    verified: int = 0
    classified: int = 0
    cancelled: int = 0


class WaitReason(BaseModel):
    """Why chunks wait."""

    state: str
    error_class: str | None = Field(description="The error class of the latest attempts. Null: they succeeded.")
    reason: str = Field(description="The reason of one of them, in words.")
    chunks: int


class Progress(BaseModel):
    """The progress of a backfill."""

    percent: float | None = Field(
        ge=0,
        le=100,
        description="The answered part of the range in candles, rounded down. Time before the listing of a market "
        "counts as missing until it is classified. Null: the range contains no closed candle.",
    )
    is_whole: bool = Field(description="Each candle of the range is verified, or is absent for a final reason.")
    candles: int = Field(description="The candles of the range, over all series.")
    missing_candles: int
    reached: datetime | None = Field(
        description="From this time to the end, nothing is missing in any series. Null: no series has a range."
    )
    candles_per_second: float | None = Field(
        description="The rate of the last 15 minutes. Null: no chunk of this backfill has ended in them."
    )
    eta: datetime | None = Field(
        description="When the range is whole at this rate. Null: the rate is unknown, the backfill is not active, or "
        "nothing is missing."
    )
    chunks: ChunkCounts
    next_attempt_at: datetime | None = Field(description="When the next waiting chunk is requested again.")
    reasons: list[WaitReason] = Field(description="Why chunks wait; at most 10.")


class BackfillDetails(Backfill):
    """A backfill with its progress."""

    progress: Progress
    remaining: Estimate = Field(description="The cost of collecting the rest.")


class BackfillSeries(BaseModel):
    """One series of a backfill, with its part of the progress."""

    exchange: str
    symbol: str
    timeframe: str
    config_id: int = Field(description="The config that collected the series when the backfill was created.")
    candles: int = Field(description="The candles of the range.")
    missing_candles: int
    percent: float | None = Field(
        ge=0, le=100, description="The answered part of the range, rounded down. Null: it contains no closed candle."
    )
    is_whole: bool = Field(description="Each candle of the range is verified, or is absent for a final reason.")


class BackfillChunk(BaseModel):
    """A span of one series that the backfiller requests in one run."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    exchange: str
    symbol: str
    timeframe: str
    start: datetime
    end: datetime
    state: ChunkState = Field(
        description="`verified` and `classified` are answered. `failed`: the exchange refuses it; it is tried again."
    )
    attempts: int = Field(description="The attempts that have ended.")
    next_attempt_at: datetime = Field(description="A waiting or failed chunk is requested then, or later.")
    requested_at: datetime | None = Field(description="When the latest attempt was requested.")
    ended_at: datetime | None = Field(description="When it became verified, classified or cancelled.")
    loss_at: datetime | None = Field(description="When the exchange stops offering its oldest candle. Null: unknown.")
    run_id: UUID | None = Field(description="The run of the latest attempt, as in `/execution-logs?run_id=`.")
    reason: str | None = Field(description="The result of the latest attempt, or what the chunk waits for, in words.")
    error_class: str | None = Field(description="The error class of the latest attempt. Null: it succeeded.")
