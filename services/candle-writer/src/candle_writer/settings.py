"""The settings of candle-writer."""

from pydantic import Field

from runtime.settings import DatabaseSettings, WorkerSettings


class CandleWriterSettings(WorkerSettings, DatabaseSettings):
    """The environment of candle-writer."""

    http_port: int = Field(default=8004, ge=0, le=65535, description="The HTTP port; 0 takes a free one.")
    batch_max_records: int = Field(
        default=1000,
        ge=1,
        le=10_000,
        description="Maximum number of messages in one transaction. If messages are large, a transaction has fewer, "
        "because one fetch from Kafka returns at most 1 MB per partition.",
    )
