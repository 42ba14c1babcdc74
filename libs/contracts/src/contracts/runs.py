"""What became of a tick. Topic `run-events`, keyed by config id."""

from typing import Literal, Self
from uuid import UUID

from pydantic import Field, model_validator
from typing_extensions import override

from contracts.event import Event, Instant, Model
from contracts.vocabulary import ErrorClass, ExchangeId, RunStatus, Symbol, Timeframe, Timeframes, Trigger


class TimeframeResult(Model):
    """What one timeframe of a run collected, or why it did not."""

    timeframe: Timeframe
    candles: int = Field(ge=0, description="Closed, valid candles published.")
    pages: int = Field(ge=0, description="Answers read from the exchange.")
    first_open: Instant | None = Field(default=None, description="Open time of the first candle collected.")
    last_open: Instant | None = Field(default=None, description="Open time of the last candle collected.")
    error_class: ErrorClass | None = Field(default=None, description="Null exactly when it was collected.")
    error_message: str | None = Field(default=None, description="For a person.")
    note: str | None = Field(
        default=None, description="What a person should know though nothing failed, such as history no longer offered."
    )


class RunStarted(Event):
    """A collector took a tick up."""

    type: Literal["RunStarted"] = "RunStarted"
    run_id: UUID = Field(description="The id of the tick that asked for it.")
    config_id: int = Field(gt=0, description="The config that is collected.")
    exchange: ExchangeId
    symbol: Symbol
    timeframes: Timeframes
    trigger: Trigger = Field(description="Why the run exists.")
    scheduled_for: Instant = Field(description="The slot; for a manual or initial run, when it was asked for.")
    started_at: Instant = Field(description="When the collector took the tick up.")
    deadline_at: Instant = Field(
        description="The run ends by itself by then; later than this plus a grace, its collector is gone."
    )
    collector: str = Field(description="Which instance runs it.")

    @override
    def key(self) -> str:
        return str(self.config_id)


class RunFinished(Event):
    """A run ended. The log row can be written from this event alone, should RunStarted come later or never."""

    type: Literal["RunFinished"] = "RunFinished"
    run_id: UUID = Field(description="The id of the tick that asked for it.")
    config_id: int = Field(gt=0, description="The config that is collected.")
    exchange: ExchangeId
    symbol: Symbol
    timeframes: Timeframes
    trigger: Trigger = Field(description="Why the run exists.")
    scheduled_for: Instant = Field(description="The slot; for a manual or initial run, when it was asked for.")
    started_at: Instant = Field(description="When the collector took the tick up.")
    finished_at: Instant = Field(description="When it ended, by the same clock as started_at.")
    status: Literal[RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.SKIPPED] = Field(
        description="success: every timeframe was collected. skipped: the config was still being collected when a slot "
        "fell due; manual runs wait instead."
    )
    records_collected: int = Field(ge=0, description="Candles published, over all timeframes.")
    error_class: ErrorClass | None = Field(default=None, description="Null exactly when the run succeeded.")
    error_message: str | None = Field(
        default=None, description="For a person: what happened and, where known, what to do."
    )
    results: tuple[TimeframeResult, ...] = Field(description="A row per timeframe; empty for a skipped run.")
    covered_until: Instant | None = Field(
        default=None,
        description="For a successful run: all timeframes are collected up to here; the next window starts here.",
    )

    @model_validator(mode="after")
    def _outcome_is_consistent(self) -> Self:
        if (self.status is RunStatus.SUCCESS) != (self.error_class is None):
            raise ValueError("error_class is null exactly when status is success")
        if self.finished_at < self.started_at:
            raise ValueError("finished_at is before started_at")
        return self

    @override
    def key(self) -> str:
        return str(self.config_id)
