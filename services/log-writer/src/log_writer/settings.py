"""What an operator can set."""

from pydantic import Field

from runtime.settings import DatabaseSettings, WorkerSettings


class LogWriterSettings(WorkerSettings, DatabaseSettings):
    """The environment of log-writer."""

    http_port: int = Field(default=8003, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    log_retention_days: int = Field(
        default=30, ge=0, le=36_500, description="Runs that started longer ago are deleted; 0 keeps them for ever."
    )
    lost_run_grace_seconds: float = Field(
        default=60.0,
        ge=0,
        description="A run that has not reported its end this long after its deadline has lost its collector.",
    )
    lost_run_check_seconds: float = Field(default=5.0, gt=0, description="How often lost runs are looked for.")
    batch_max_records: int = Field(default=1000, ge=1, le=20_000, description="The most events written at once.")
