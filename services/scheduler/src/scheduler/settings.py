"""The scheduler's settings. All numbers that its decisions depend on are here."""

from pydantic import Field

from runtime.settings import TickSettings, WorkerSettings
from scheduler.due import Policy

_HOUR_MS = 3_600_000


class SchedulerSettings(WorkerSettings, TickSettings):
    http_port: int = Field(default=8001, ge=0, le=65535, description="The HTTP server's port; 0 selects a free one.")

    schedule_spread_seconds: int = Field(
        default=300,
        ge=0,
        description="The slots of configs with the same interval are spread over this time, at most over the interval. "
        "All instances need the same value. A change moves every grid once. With 0, slots are on the full interval.",
    )
    catch_up_limit_hours: float = Field(
        default=24,
        gt=0,
        description="How far back the first run after downtime collects, in hours. If two intervals of the config are "
        "longer, it goes back two intervals. It always collects one extra candle. A gap before that is logged and "
        "counted.",
    )
    tick_batch_size: int = Field(
        default=500, ge=1, le=5000, description="The most ticks of one lane that are published in one batch."
    )
    publish_retry_max_wait_seconds: float = Field(
        default=10.0,
        gt=0,
        description="The longest wait before ticks or states that Kafka did not acknowledge are published again.",
    )
    clock_check_seconds: float = Field(
        default=0.5, gt=0, le=5, description="How often the wall clock is checked for steps, at least."
    )
    handover_timeout_seconds: float = Field(
        default=3.0,
        gt=0,
        description="How long a hand-over of partitions waits for Kafka's acknowledgement of the ticks in flight, and "
        "then as long for the states.",
    )

    def policy(self) -> Policy:
        return Policy(
            spread_ms=self.schedule_spread_seconds * 1000,
            catch_up_limit_ms=int(self.catch_up_limit_hours * _HOUR_MS),
            deadline_seconds=self.run_deadline_seconds,
            lanes=self.exchange_lanes,
        )
