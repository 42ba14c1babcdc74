"""Response bodies of the run log, statistics and reports."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contracts.vocabulary import ErrorClass, RunStatus, Trigger

_SUCCESS_RATE = "Successful runs in percent of the runs that succeeded or failed; 0 if there are none."


class ExecutionLog(BaseModel):
    """One run."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    job_name: str = Field(examples=["collect_data_1"])
    job_type: str = Field(examples=["data_collection"])
    symbol: str
    exchange: str
    timeframe: str | None = Field(
        description="Always null, because a run collects all timeframes of its config; `metadata` lists them."
    )
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
    """Statistics of the runs that started in the requested period."""

    total_executions: int
    successful_executions: int
    failed_executions: int
    running_executions: int
    success_rate: float = Field(description=_SUCCESS_RATE)
    average_duration_seconds: float | None = Field(description="The average over the runs that succeeded or failed.")
    total_records_collected: int
    last_execution: datetime | None = Field(description="The start of the latest of these runs.")
    skipped_executions: int = Field(
        description="Runs that were skipped because the previous run of the config was still in progress, or because a "
        "newer one took their place while they waited. Part of the total. Manual runs are not skipped; they wait."
    )
    p50_duration_seconds: float | None = Field(
        description="The median duration of the runs that succeeded or failed. For more than 10,000 runs it is an "
        "estimate with an error of at most 1 %."
    )
    p95_duration_seconds: float | None = Field(
        description="The 95th percentile of the duration, with the same accuracy as the median."
    )
    errors_by_class: dict[str, int] = Field(
        description="The number of failed runs by error class, the most frequent first.", examples=[{"timeout": 2}]
    )


class Status(BaseModel):
    """An overview of configs, jobs and runs."""

    total_configs: int
    enabled_configs: int
    disabled_configs: int
    active_jobs: int = Field(description="The number of jobs that the scheduler has.")
    recent_executions: list[ExecutionLog] = Field(description="The latest 10 runs of the type `data_collection`.")
    stats: Stats = Field(description="Statistics of these runs of the last 24 hours.")


class RunMark(BaseModel):
    """The part of a run that a strip of runs shows."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    status: RunStatus
    trigger: str = Field(examples=[each.value for each in Trigger])
    started_at: datetime
    duration_seconds: float | None
    records_collected: int
    error_class: str | None = Field(examples=[each.value for each in ErrorClass])


class ConfigActivity(BaseModel):
    """The last runs and the next run of one config."""

    config_id: int
    next_run_at: datetime | None = Field(
        description="When the scheduler starts the next run. Null if the config is disabled, or not scheduled yet."
    )
    runs: list[RunMark] = Field(description="The latest runs of all kinds, the oldest first.")


class RunsOfSpan(BaseModel):
    """The runs that started in one UTC hour or day."""

    begins: datetime
    executions: int = Field(description="The number of runs with any status.")
    successful: int
    failed: int
    skipped: int
    running: int
    success_rate: float = Field(description=_SUCCESS_RATE, examples=[98.61])
    avg_duration: float | None = Field(description="In seconds, of the runs that succeeded or failed; null: none did.")
    p50_duration: float | None = Field(description="The median, with an error of at most 1 %; null: no run has one.")
    p95_duration: float | None = Field(description="The 95th percentile, with the same accuracy.")
    total_records: int
    errors_by_class: dict[str, int] = Field(
        description="The number of failed runs by error class, the most frequent first.", examples=[{"timeout": 2}]
    )


class SymbolReport(BaseModel):
    """The runs of one symbol on all exchanges together."""

    model_config = ConfigDict(from_attributes=True)

    symbol: str = Field(examples=["BTC/USDT"])
    executions: int = Field(description="The number of runs that started in the requested hours, with any status.")
    total_records: int
    avg_duration: float | None = Field(description="In seconds; null if no run has finished.")
    success_rate: float = Field(description=_SUCCESS_RATE, examples=[98.61])


class ExchangeReport(BaseModel):
    """The finished runs of one exchange."""

    model_config = ConfigDict(from_attributes=True)

    exchange: str = Field(examples=["binance"])
    avg_duration: float = Field(description="In seconds.", examples=[3.5])
    total_records: int
