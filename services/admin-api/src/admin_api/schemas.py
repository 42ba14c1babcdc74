"""The JSON of the API: what callers send and what they read. Field names are the guide's; additions come after them."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator
from typing_extensions import TypedDict

from admin_api.fields import Description, ExchangeText, IntervalMinutes, StrictInput, SymbolText, TimeframeTexts
from contracts.vocabulary import ErrorClass, RunStatus, Trigger

ADVISED_INTERVAL_MINUTES = 5
_SUCCESS_RATE = "Percent of the runs that succeeded or failed; 0 when there are none."


class NewConfig(StrictInput):
    """What to collect."""

    symbol: SymbolText
    exchange: ExchangeText
    timeframes: TimeframeTexts
    interval_minutes: IntervalMinutes = 10
    enabled: bool = True
    description: Description | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "symbol": "ETH/USDT",
                    "exchange": "binance",
                    "timeframes": ["1m", "5m", "15m", "1h", "4h", "1d"],
                    "interval_minutes": 10,
                    "enabled": True,
                    "description": "Ethereum data collection",
                }
            ]
        }
    )


def _optional_but_not_null(schema: dict[str, Any]) -> None:
    """What the validator below enforces, said in JSON Schema."""
    for name, field in schema["properties"].items():
        del field["default"]
        if name != "description":
            (kind, _null) = field.pop("anyOf")
            field.update(kind)


class ConfigChanges(StrictInput):
    """A partial update: what is left out stays. Only `description` can be set to null."""

    symbol: SymbolText | None = None
    exchange: ExchangeText | None = None
    timeframes: TimeframeTexts | None = None
    interval_minutes: IntervalMinutes | None = None
    enabled: bool | None = None
    description: Description | None = None

    model_config = ConfigDict(json_schema_extra=_optional_but_not_null)

    @model_validator(mode="after")
    def _null_is_not_a_value(self) -> Self:
        nulls = [name for name in self.model_fields_set if name != "description" and getattr(self, name) is None]
        if nulls:
            raise ValueError(f"leave {', '.join(sorted(nulls))} out to keep it; null is not a value for it")
        return self

    def named(self) -> dict[str, Any]:
        """Only what the caller sent."""
        return self.model_dump(exclude_unset=True)


class Config(BaseModel):
    """A collection config."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    symbol: str
    exchange: str
    timeframes: list[str]
    interval_minutes: int
    enabled: bool
    job_id: str = Field(description="The name under which its runs are logged.", examples=["collect_data_1"])
    created_at: datetime
    description: str | None
    version: int = Field(description="Raised by every change.")
    updated_at: datetime

    @computed_field(description="Advice on this config; empty when there is none.")  # type: ignore[prop-decorator]
    @property
    def warnings(self) -> list[str]:
        return advice(self.interval_minutes)


def advice(interval_minutes: int) -> list[str]:
    """What an experienced operator would say about a config."""
    if interval_minutes >= ADVISED_INTERVAL_MINUTES:
        return []
    reason = "exchanges limit the rate of requests, and very frequent jobs fill the database"
    return [f"interval_minutes is {interval_minutes}; {ADVISED_INTERVAL_MINUTES} or more is advised: {reason}"]


class TriggerAccepted(BaseModel):
    """A run was asked for; it appears in the execution logs under this run_id."""

    run_id: UUID
    config_id: int
    job_id: str
    status: Literal["accepted"] = "accepted"
    scheduled_for: datetime


class ExecutionLog(BaseModel):
    """One run."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    job_name: str = Field(examples=["collect_data_1"])
    job_type: str = Field(examples=["data_collection"])
    symbol: str
    exchange: str
    timeframe: str | None = Field(description="Null: a run collects all timeframes of its config; see metadata.")
    started_at: datetime
    finished_at: datetime | None
    duration_seconds: float | None
    status: RunStatus
    records_collected: int
    error_message: str | None
    metadata: dict[str, Any]
    run_id: UUID
    config_id: int
    trigger: str = Field(examples=[each.value for each in Trigger])
    scheduled_for: datetime
    error_class: str | None = Field(examples=[each.value for each in ErrorClass])


class Stats(BaseModel):
    """Runs that started within the asked period."""

    total_executions: int
    successful_executions: int
    failed_executions: int
    running_executions: int
    success_rate: float = Field(description=_SUCCESS_RATE)
    average_duration_seconds: float | None = Field(description="Of the runs that succeeded or failed.")
    total_records_collected: int
    last_execution: datetime | None = Field(description="When the latest of these runs started.")
    skipped_executions: int = Field(
        description="Part of the total: the config's previous run was still going on when "
        "a slot fell due. Manual runs wait instead."
    )
    p50_duration_seconds: float | None = Field(
        description="Half of the runs that succeeded or failed took no longer. Of more than 10,000 runs in all it is "
        "an estimate that is at most 1 % off."
    )
    p95_duration_seconds: float | None = Field(description="As above, of 95 in a hundred.")
    errors_by_class: dict[str, int] = Field(
        description="The failed runs by error class, the most frequent first.", examples=[{"timeout": 2}]
    )


class Status(BaseModel):
    """Everything at a glance."""

    total_configs: int
    enabled_configs: int
    disabled_configs: int
    active_jobs: int = Field(description="Jobs that the scheduler really holds.")
    recent_executions: list[ExecutionLog] = Field(description="The latest 10.")
    stats: Stats = Field(description="The last 24 hours.")


class CandleRow(TypedDict):
    """One closed candle."""

    open_time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    fetched_at: datetime


class StoredSeries(BaseModel):
    """The candles of one timeframe of a symbol on an exchange, as far as they are stored."""

    model_config = ConfigDict(from_attributes=True)

    exchange: str = Field(examples=["binance"])
    symbol: str = Field(examples=["BTC/USDT"])
    timeframe: str = Field(examples=["1m"])
    candles: int = Field(description="How many; exact.", examples=[43200])
    first_open_time: datetime = Field(description="When the earliest one opened.")
    last_open_time: datetime = Field(description="When the latest one opened.")


class SymbolReport(BaseModel):
    """What the runs of one symbol brought, on all exchanges together."""

    model_config = ConfigDict(from_attributes=True)

    symbol: str = Field(examples=["BTC/USDT"])
    executions: int = Field(description="Runs that started within the asked hours, in whatever state.")
    total_records: int
    avg_duration: float | None = Field(description="Seconds; null when none of them is over.")
    success_rate: float = Field(description=_SUCCESS_RATE, examples=[98.61])


class ExchangeReport(BaseModel):
    """How the runs of one exchange went, of those that are over."""

    model_config = ConfigDict(from_attributes=True)

    exchange: str = Field(examples=["binance"])
    avg_duration: float = Field(description="Seconds.", examples=[3.5])
    total_records: int


class FieldProblem(BaseModel):
    """One thing wrong with one input."""

    pointer: str = Field(examples=["#/timeframes/0"])
    detail: str
    where: str = Field(examples=["body"])


class Problem(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        description="Stable, for programs; `docs/problems` has a page for each.",
        examples=["urn:candlekeep:problem:invalid-input"],
    )
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to change.")
    instance: str = Field(description="The path that was asked for.")
    request_id: str | None = Field(
        default=None, description="Names this request in the service's log and audit log; also the header X-Request-ID."
    )
    errors: list[FieldProblem] = Field(default=[], description="Each faulty input, where inputs are at fault.")
