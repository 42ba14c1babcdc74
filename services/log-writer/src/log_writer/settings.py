"""The settings of log-writer."""

from datetime import timedelta

from pydantic import Field

from log_writer.lifecycle import LifecyclePolicy
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
        description="Wait after the deadline of a run, in seconds. If the run has not ended by then, it is closed as "
        "lost.",
    )
    lost_run_check_seconds: float = Field(default=5.0, gt=0, description="Seconds between two checks for lost runs.")
    batch_max_records: int = Field(
        default=1000, ge=1, le=20_000, description="Maximum number of events in one transaction."
    )
    delisted_after_lists: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="A market counts as delisted if this number of lists of the exchange's markets do not contain it. "
        "Raise it for an exchange whose lists are often incomplete.",
    )
    delisted_after_hours: float = Field(
        default=6.0,
        ge=0,
        le=720,
        description="Minimum time in hours between the first and the last of these lists. Until then, the market has "
        "the state missing.",
    )
    incomplete_list_hours: float = Field(
        default=72.0,
        ge=0,
        le=8760,
        description="A list without a large part of the known markets counts as incomplete, and no market is delisted "
        "because of it. If all lists of an exchange are incomplete for this time in hours, they count as complete.",
    )

    def lifecycle(self) -> LifecyclePolicy:
        return LifecyclePolicy(
            min_lists=self.delisted_after_lists,
            min_time=timedelta(hours=self.delisted_after_hours),
            incomplete_time=timedelta(hours=self.incomplete_list_hours),
        )
