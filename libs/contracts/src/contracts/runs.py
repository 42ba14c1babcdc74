"""The start and the end of runs. Topic `run-events`, keyed by config id."""

from typing import Any, Final, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator
from typing_extensions import override

from contracts.bounds import (
    MAX_DEADLINE,
    MAX_RUN_DURATION,
    MAX_TIMEFRAMES,
    Count,
    Message,
    Name,
    Note,
    RowId,
)
from contracts.coverage import MAX_REJECTED_ROWS_PER_RESULT, MAX_SPANS_PER_RESULT, Absence, RejectedRow, Span
from contracts.event import SCHEMA_VERSION_DESCRIPTION, Event, Instant, Model, SchemaVersion
from contracts.vocabulary import ErrorClass, ExchangeId, JobType, RunStatus, Symbol, Timeframe, Timeframes, Trigger

MAX_NOTES: Final = 100
"""The largest number of remarks in a result."""


class TimeframeResult(Model):
    """The result of one timeframe of a run: the collected candles, the spans that are now verified, and the error."""

    timeframe: Timeframe
    candles: Count = Field(description="The number of closed, valid candles published.")
    pages: Count = Field(description="The number of responses read from the exchange.")
    first_open: Instant | None = Field(default=None, description="Open time of the first candle collected.")
    last_open: Instant | None = Field(default=None, description="Open time of the last candle collected.")
    error_class: ErrorClass | None = Field(default=None, description="Null only if the timeframe was collected.")
    error_message: Message | None = Field(default=None, description="The error in words, for a person.")
    notes: tuple[Note, ...] = Field(
        default=(),
        max_length=MAX_NOTES,
        description="Remarks although nothing failed, for example that the exchange no longer offers older candles.",
    )
    anchor: Instant | None = Field(
        default=None,
        description="Open time of a collected candle, from which the next run reads on. Null: no candle is known.",
    )
    verified: tuple[Span, ...] = Field(
        default=(),
        max_length=MAX_SPANS_PER_RESULT,
        description="The newest spans that the answers vouch for, ascending. They count even if the timeframe failed.",
    )
    requested: tuple[Span, ...] = Field(
        default=(),
        max_length=MAX_SPANS_PER_RESULT,
        description="Spans without a known candle that the run requested, whether or not the answers vouch for them.",
    )
    lost: tuple[Span, ...] = Field(
        default=(),
        max_length=MAX_SPANS_PER_RESULT,
        description="Spans that the exchange no longer offers. Later runs do not request them.",
    )
    open_hole: Absence | None = Field(
        default=None, description="The newest span before the end of `verified` that is not verified, with the reason."
    )
    rejected: tuple[RejectedRow, ...] = Field(
        default=(),
        max_length=MAX_REJECTED_ROWS_PER_RESULT,
        description="Rows that cannot be candles and that the exchange repeated. The first ones, if there are many.",
    )
    rejected_count: Count = Field(default=0, description="The number of all such rows.")


class RunStarted(Event):
    """A collector started the run of a tick."""

    type: Literal["RunStarted"] = "RunStarted"
    run_id: UUID = Field(description="The run id of the tick.")
    config_id: RowId = Field(description="The config that the run collects.")
    exchange: ExchangeId
    symbol: Symbol
    timeframes: Timeframes
    job_type: JobType = Field(default=JobType.DATA_COLLECTION, description="The kind of run.")
    trigger: Trigger = Field(description="The reason for the run.")
    scheduled_for: Instant = Field(description="The slot. For another run: when it was requested.")
    started_at: Instant = Field(description="When the collector started the run.")
    deadline_at: Instant = Field(
        description="The run ends by itself at this time. If it is open for longer, its collector has vanished."
    )
    collector: Name = Field(description="The instance that does the run.")

    @model_validator(mode="after")
    def _deadline_is_near(self) -> Self:
        if self.deadline_at - self.started_at > MAX_DEADLINE:
            raise ValueError("deadline_at is more than a day after started_at")
        return self

    @override
    def key(self) -> str:
        return str(self.config_id)


class RunFinished(Event):
    """A run ended. log-writer can write the row from this event alone, if RunStarted arrives later or never."""

    schema_version: SchemaVersion = Field(default=2, description=SCHEMA_VERSION_DESCRIPTION)
    type: Literal["RunFinished"] = "RunFinished"
    run_id: UUID = Field(description="The run id of the tick.")
    config_id: RowId = Field(description="The config that the run collects.")
    exchange: ExchangeId
    symbol: Symbol
    timeframes: Timeframes
    job_type: JobType = Field(default=JobType.DATA_COLLECTION, description="The kind of run.")
    trigger: Trigger = Field(description="The reason for the run.")
    scheduled_for: Instant = Field(description="The slot. For another run: when it was requested.")
    started_at: Instant = Field(description="When the collector started the run.")
    finished_at: Instant = Field(description="When the run ended, by the same clock as started_at.")
    status: Literal[RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.SKIPPED] = Field(
        description="success: every timeframe was collected. skipped: another run of the config was in progress "
        "(already_running), or a newer tick took the place of the waiting tick (superseded). Then error_message names "
        "the other run. Manual runs are not skipped."
    )
    records_collected: Count = Field(description="The number of candles published, over all timeframes.")
    error_class: ErrorClass | None = Field(default=None, description="Null only if the run succeeded.")
    error_message: Message | None = Field(
        default=None, description="The error in words, with the remedy if it is known."
    )
    results: tuple[TimeframeResult, ...] = Field(
        max_length=MAX_TIMEFRAMES, description="One result per timeframe. Empty for a skipped run."
    )

    @override
    @classmethod
    def upgraded(cls, document: dict[str, Any]) -> dict[str, Any]:
        """Version 1 had at most one note per timeframe, and its last candle was known to be stored."""
        return {**document, "results": [_result_of_version_1(result) for result in document["results"]]}

    @model_validator(mode="after")
    def _outcome_is_consistent(self) -> Self:
        if (self.status is RunStatus.SUCCESS) != (self.error_class is None):
            raise ValueError("error_class must be null if the status is success, and must be set otherwise")
        if self.finished_at < self.started_at:
            raise ValueError("finished_at is before started_at")
        if self.finished_at - self.started_at > MAX_RUN_DURATION:
            raise ValueError(f"finished_at is more than {MAX_RUN_DURATION.days} days after started_at")
        return self

    @override
    def key(self) -> str:
        return str(self.config_id)


def _result_of_version_1(result: dict[str, Any]) -> dict[str, Any]:
    if "notes" in result:
        return result
    note = result.get("note")
    return {**result, "notes": (note,) if note else (), "anchor": result.get("last_open")}
