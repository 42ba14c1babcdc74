"""The settings of log-writer."""

from pydantic import Field

from runtime.settings import DatabaseSettings, WorkerSettings


class LogWriterSettings(WorkerSettings, DatabaseSettings):
    """The environment of log-writer."""

    http_port: int = Field(default=8003, ge=0, le=65535, description="The HTTP port; 0 takes a free one.")
    log_retention_days: int = Field(
        default=30,
        ge=0,
        le=36_500,
        description="Runs that started more days ago than this are deleted. 0 keeps all runs.",
    )
    lost_run_grace_seconds: float = Field(
        default=60.0,
        ge=0,
        description="Wait after the deadline of a run, in seconds. If the run then has no end, it is closed as lost.",
    )
    lost_run_check_seconds: float = Field(default=5.0, gt=0, description="Seconds between two checks for lost runs.")
    batch_max_records: int = Field(
        default=1000, ge=1, le=20_000, description="Maximum number of events in one transaction."
    )
