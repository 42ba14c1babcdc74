"""The metrics of log-writer. `runtime.metrics` has those of consumers and dead letters; FastStream adds its own."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from contracts.markets import MarketsListed
from log_writer.lifecycle import Change, Comparison
from log_writer.open_holes import OpenHoles
from log_writer.run_health import RunHealth
from log_writer.runs import RunRow
from log_writer.schedule import ScheduleChanges
from runtime.logs import log


class LogWriterMetrics:
    """Make one per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.runs = Counter(
            "candlekeep_log_runs_written",
            "Rows written to the run log. A run counts once per batch.",
            registry=registry,
        )
        self.jobs = Counter(
            "candlekeep_log_jobs_written",
            "Schedule states written to scheduled_jobs. A config counts once per batch.",
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
            "Age of the newest event of the last batch when it was written.",
            registry=registry,
        )
        self.lost_runs_closed = Counter(
            "candlekeep_log_lost_runs_closed",
            "Runs closed as failed because their collector vanished.",
            registry=registry,
        )
        self.runs_expired = Counter("candlekeep_log_runs_expired", "Runs deleted by retention.", registry=registry)
        self.counts_settled = Counter(
            "candlekeep_log_counts_settled",
            "Run changes that were added to the hourly counts.",
            registry=registry,
        )
        self.open_holes = Gauge(
            "candlekeep_open_holes",
            "Spans between the verified spans of a series, without its newest ten minutes. The database counts them "
            "once a minute, by exchange and by class: the reason of the newest absence in the span, or unknown.",
            ("exchange", "absence_class"),
            registry=registry,
        )
        self.stuck_runs = Gauge(
            "candlekeep_stuck_runs",
            "Runs that have been running for more than 30 minutes. The database counts them once a minute.",
            ("exchange",),
            registry=registry,
        )
        self.configs_without_success = Gauge(
            "candlekeep_configs_without_success",
            "Enabled configs without a successful run in three of their intervals. The database counts them once a "
            "minute.",
            ("exchange",),
            registry=registry,
        )
        self.market_changes = Counter(
            "candlekeep_market_changes",
            "Differences between lists of markets, such as a market that is new, suspended, missing or delisted.",
            ("exchange", "change"),
            registry=registry,
        )
        self.periodic_task_failures = Counter(
            "candlekeep_log_periodic_task_failures",
            "Failures of retention, of the lost-run check, of settling counts, or of counting open holes or stuck "
            "runs. Each is tried again at its next turn.",
            ("task",),
            registry=registry,
        )

    def add_batch(self, rows: Sequence[RunRow], changes: ScheduleChanges, seconds: float) -> None:
        """Count a batch that was written."""
        self.runs.inc(len(rows))
        self.jobs.inc(len(changes.states))
        self.jobs_removed.inc(len(changes.removed))
        self.write_seconds.observe(seconds)

    def set_run_health(self, counts: Mapping[str, RunHealth]) -> None:
        """Set the gauges of stuck runs and of configs without success.

        If an exchange no longer occurs, its time series are removed.
        """
        self.stuck_runs.clear()
        self.configs_without_success.clear()
        for exchange, health in counts.items():
            self.stuck_runs.labels(exchange).set(health.stuck_runs)
            self.configs_without_success.labels(exchange).set(health.configs_without_success)

    def set_open_holes(self, counts: OpenHoles) -> None:
        """Replace all numbers of open holes."""
        self.open_holes.clear()
        for labels, holes in counts.items():
            self.open_holes.labels(*labels).set(holes)

    def add_market_changes(self, comparisons: Iterable[tuple[MarketsListed, Comparison]]) -> None:
        """Count and log the differences of the lists that were applied."""
        for listed, comparison in comparisons:
            symbols: dict[Change, list[str]] = {}
            for change, symbol in comparison.changes:
                self.market_changes.labels(listed.exchange, change).inc()
                symbols.setdefault(change, []).append(symbol)
            for change, changed in symbols.items():
                log.info(
                    f"The list of {listed.kind} markets of {listed.exchange} shows a difference: {change}",
                    action="markets_changed",
                    exchange=listed.exchange,
                    change=change.value,
                    markets=len(changed),
                    symbols=changed[:20],
                )

    def set_newest(self, newest: datetime | None, now: datetime) -> None:
        """Record the age of the newest event of a written batch. `newest` is None if the batch had only tombstones."""
        if newest is not None:
            self.age_seconds.set((now - newest).total_seconds())
