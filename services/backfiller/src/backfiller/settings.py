"""The settings of the backfiller."""

from datetime import timedelta

from pydantic import Field

from backfiller.closing import ClosingPolicy
from backfiller.planning import PlanPolicy
from backfiller.plans import PlanTimes
from backfiller.requests import RequestPolicy
from runtime.settings import DatabaseSettings, TickSettings, WorkerSettings


class BackfillerSettings(WorkerSettings, DatabaseSettings, TickSettings):
    """The environment of the backfiller."""

    http_port: int = Field(default=8005, ge=0, le=65535, description="The HTTP port; 0 takes a free one.")
    batch_max_records: int = Field(
        default=500, ge=1, le=5_000, description="Maximum number of run events in one transaction."
    )
    turn_seconds: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="Maximum pause in seconds between two searches for series to plan and chunks to request. When a "
        "run ends, the pause ends.",
    )
    plan_interval_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Time in seconds after which the holes of a series are compared with its chunks again. A series is "
        "also planned when its config, its backfill or a chunk changes. Raise it for 100,000 series or more.",
    )
    hole_min_age_minutes: float = Field(
        default=15.0,
        ge=0,
        description="Minimum age in minutes of the end of a hole before the backfiller requests the hole, because "
        "scheduled runs read younger holes themselves. This limit does not apply to a backfill that reads its whole "
        "range again.",
    )
    chunk_pages: int = Field(
        default=5,
        ge=1,
        le=100,
        description="Largest number of requests to an exchange for one chunk, which is one run. Lower it for exchanges "
        "that answer slowly, because a run should take only some seconds.",
    )
    fresh_chunks_per_series: int = Field(
        default=8,
        ge=1,
        le=1000,
        description="Largest number of unfinished chunks without a retry per series. The rest of a long history is "
        "planned when these chunks have ended.",
    )
    open_chunks_per_series: int = Field(
        default=200,
        ge=1,
        le=10_000,
        description="If a series has this number of unfinished chunks or more, new chunks are added one at a time.",
    )
    ranges_per_lane: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="Largest number of requested chunks per lane of an exchange. If live runs wait for the rate limit "
        "at the same time, the collector's RANGE_SHARE limits the requests for these chunks.",
    )
    ranges_total: int = Field(
        default=400, ge=1, le=100_000, description="Largest number of requested chunks, for all exchanges together."
    )
    claim_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Time in seconds for which an instance may publish the request of a chunk before other instances "
        "may do so. If the instance crashes, another instance publishes the same request after this time. Must be "
        "longer than KAFKA_PUBLISH_TIMEOUT_SECONDS.",
    )
    range_start_wait_seconds: float = Field(
        default=900.0,
        gt=0,
        description="Time in seconds in which the run of a published request must start. If it has not started by "
        "then, the chunk is requested again. Live runs have priority, so this may take minutes in a busy lane.",
    )
    range_grace_seconds: float = Field(
        default=60.0,
        ge=0,
        description="Wait after the deadline of a run, in seconds. If the run has not ended by then, its chunk is "
        "requested again.",
    )
    ledger_wait_seconds: float = Field(
        default=20.0,
        gt=0,
        description="Maximum time in seconds between the end of a run and the storage of its candles. If a part of "
        "the chunk is not verified by then, the chunk is requested again.",
    )
    retry_initial_wait_seconds: float = Field(
        default=30.0, gt=0, description="Pause in seconds before a chunk is requested again. It doubles each time."
    )
    retry_max_wait_seconds: float = Field(
        default=21_600.0, gt=0, description="Longest pause in seconds before a chunk is requested again."
    )
    failed_retry_hours: float = Field(
        default=24.0,
        gt=0,
        description="Pause in hours before a failed chunk is requested again. A chunk fails if retries do not help, "
        "for example because the symbol is unknown.",
    )

    def closing(self) -> ClosingPolicy:
        return ClosingPolicy(
            first_delay=timedelta(seconds=self.retry_initial_wait_seconds),
            longest_delay=timedelta(seconds=self.retry_max_wait_seconds),
            failed_delay=timedelta(hours=self.failed_retry_hours),
            ledger_wait=timedelta(seconds=self.ledger_wait_seconds),
        )

    def plan(self) -> PlanPolicy:
        return PlanPolicy(
            pages=self.chunk_pages,
            fresh_chunks=self.fresh_chunks_per_series,
            open_chunks=self.open_chunks_per_series,
        )

    def plan_times(self) -> PlanTimes:
        return PlanTimes(
            interval=timedelta(seconds=self.plan_interval_seconds),
            hole_min_age=timedelta(minutes=self.hole_min_age_minutes),
        )

    def requests(self) -> RequestPolicy:
        return RequestPolicy(
            lanes=self.exchange_lanes,
            per_lane=self.ranges_per_lane,
            total=self.ranges_total,
            lease=timedelta(seconds=self.claim_seconds),
            start_wait=timedelta(seconds=self.range_start_wait_seconds),
            deadline_seconds=self.run_deadline_seconds,
        )

    @property
    def grace(self) -> timedelta:
        """How long to wait for a result after the deadline of a run."""
        return timedelta(seconds=self.range_grace_seconds)
