"""The scheduler's settings. They include all numbers that its decisions depend on."""

from pydantic import Field

from runtime.settings import TickSettings, WorkerSettings
from scheduler.due import Policy

_HOUR_MS = 3_600_000


class SchedulerSettings(WorkerSettings, TickSettings):
    http_port: int = Field(default=8001, ge=0, le=65535, description="The HTTP server's port; 0 selects a free one.")

    schedule_spread_seconds: int = Field(
        default=300,
        ge=0,
        description="The slots of configs with the same interval are spread over this time in seconds, or over the "
        "interval if it is shorter. All instances need the same value. If the value changes, the slots of all configs "
        "move once. With 0, every slot is a whole multiple of the interval.",
    )
    catch_up_limit_hours: float = Field(
        default=24,
        gt=0,
        le=87_600,
        description="Maximum age in hours of the newest collected candle of a series. The limit is at least two "
        "intervals of the config. If the candle is younger, the next run continues at this candle. If it is older, for "
        "example after downtime, the run reads the newest page first, and later runs read the time in between. Raise "
        "the value if runs can read more than a day within their deadline.",
    )
    tick_batch_size: int = Field(
        default=500,
        ge=1,
        le=5000,
        description="Largest number of ticks in one batch. All ticks of a batch belong to the same lane.",
    )
    publish_retry_max_wait_seconds: float = Field(
        default=10.0,
        gt=0,
        description="Maximum wait between two attempts to publish a tick or a schedule state, in seconds. The "
        "scheduler tries again if Kafka did not acknowledge it.",
    )
    clock_check_seconds: float = Field(
        default=0.5,
        gt=0,
        le=5,
        description="Maximum time in seconds between two checks for a step of the wall clock.",
    )
    handover_timeout_seconds: float = Field(
        default=3.0,
        gt=0,
        description="Maximum time in seconds for which a hand-over of partitions waits for Kafka's acknowledgement of "
        "the ticks in flight. The hand-over then waits for the acknowledgement of the schedule states, again for at "
        "most this time.",
    )

    def policy(self) -> Policy:
        return Policy(
            spread_ms=self.schedule_spread_seconds * 1000,
            catch_up_limit_ms=int(self.catch_up_limit_hours * _HOUR_MS),
            deadline_seconds=self.run_deadline_seconds,
            lanes=self.exchange_lanes,
        )
