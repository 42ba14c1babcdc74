"""What an operator can set. Every number that the scheduler decides by is here."""

from pydantic import Field

from runtime.settings import TickSettings, WorkerSettings
from scheduler.due import Policy

_HOUR_MS = 3_600_000


class SchedulerSettings(WorkerSettings, TickSettings):
    http_port: int = Field(default=8001, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")

    schedule_spread_seconds: int = Field(
        default=300,
        ge=0,
        description="Configs of one interval fire spread over this long (or over the interval, if that is shorter). "
        "Must be the same on all instances; changing it moves every grid once. 0 fires on the full interval.",
    )
    catch_up_limit_hours: float = Field(
        default=24,
        gt=0,
        description="After downtime a run collects at most this far back, or two intervals if those are longer, "
        "and one candle more. What lies before is logged and counted as missed.",
    )
    tick_batch_size: int = Field(
        default=500, ge=1, le=5000, description="Ticks of one lane that are published together before an answer."
    )
    publish_retry_max_wait_seconds: float = Field(
        default=10.0, gt=0, description="The longest pause before a publication that Kafka refused is tried again."
    )
    clock_check_seconds: float = Field(
        default=0.5, gt=0, le=5, description="The wall clock is read at least this often, to notice that it was set."
    )
    handover_timeout_seconds: float = Field(
        default=3.0,
        gt=0,
        description="When partitions go to another instance, ticks in hand may take this long to be acknowledged.",
    )

    def policy(self) -> Policy:
        return Policy(
            spread_ms=self.schedule_spread_seconds * 1000,
            catch_up_limit_ms=int(self.catch_up_limit_hours * _HOUR_MS),
            deadline_seconds=self.run_deadline_seconds,
            lanes=self.exchange_lanes,
        )
