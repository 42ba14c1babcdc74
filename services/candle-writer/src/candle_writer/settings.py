"""What an operator can set."""

from pydantic import Field

from runtime.settings import DatabaseSettings, WorkerSettings


class CandleWriterSettings(WorkerSettings, DatabaseSettings):
    """The environment of candle-writer."""

    http_port: int = Field(default=8004, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    batch_max_records: int = Field(
        default=1000,
        ge=1,
        le=10_000,
        description="The most messages written at once. Of large ones fewer: a fetch is limited to 1 MB per partition.",
    )
