"""Everything that log-writer measures, each with a sentence. Lag, batch sizes and dead letters are the runtime's."""

from collections.abc import Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from log_writer.runs import RunRow
from log_writer.schedule import ScheduleChanges


class LogWriterMetrics:
    """Make one per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.runs = Counter(
            "candlekeep_log_runs_written", "Rows sent to the run log, a run once per batch.", registry=registry
        )
        self.jobs = Counter(
            "candlekeep_log_jobs_written",
            "Schedule states sent to scheduled_jobs, a config once per batch.",
            registry=registry,
        )
        self.jobs_removed = Counter(
            "candlekeep_log_jobs_removed", "Configs removed from scheduled_jobs.", registry=registry
        )
        self.write_seconds = Histogram(
            "candlekeep_log_write_seconds",
            "Duration of the transaction that writes a batch.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self.age_seconds = Gauge(
            "candlekeep_log_newest_age_seconds",
            "How old the newest event of the last batch was when it was in the table.",
            registry=registry,
        )
        self.lost_runs_closed = Counter(
            "candlekeep_log_lost_runs_closed",
            "Runs closed as failed because their collector vanished.",
            registry=registry,
        )
        self.runs_expired = Counter(
            "candlekeep_log_runs_expired", "Runs deleted because they were past retention.", registry=registry
        )
        self.counts_settled = Counter(
            "candlekeep_log_counts_settled",
            "Notes of what changed in the run log that were added to its counts by the hour.",
            registry=registry,
        )
        self.periodic_task_failures = Counter(
            "candlekeep_log_periodic_task_failures",
            "Times that retention, the sweep or the adding up of counts failed; each is tried again at its next turn.",
            ("chore",),
            registry=registry,
        )

    def wrote(self, rows: Sequence[RunRow], changes: ScheduleChanges, seconds: float) -> None:
        """A batch is in the tables."""
        self.runs.inc(len(rows))
        self.jobs.inc(len(changes.states))
        self.jobs_removed.inc(len(changes.removed))
        self.write_seconds.observe(seconds)

    def saw(self, newest: datetime | None, now: datetime) -> None:
        """The newest event of a batch that is in the tables; None when it held only tombstones."""
        if newest is not None:
            self.age_seconds.set((now - newest).total_seconds())
