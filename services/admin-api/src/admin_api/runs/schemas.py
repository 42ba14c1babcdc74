"""Response bodies of the run log, statistics and reports."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contracts.vocabulary import ErrorClass, RunStatus, Trigger

_SUCCESS_RATE = "Percent of the runs that succeeded or failed; 0 when there are none."


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
