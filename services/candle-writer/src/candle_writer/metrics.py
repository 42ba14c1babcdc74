"""The metrics of candle-writer. `runtime.metrics` has those of consumers and dead letters; FastStream adds its own."""

from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from candle_writer.write import Outcome


class CandleWriterMetrics:
    """Make one per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.written = Counter("candlekeep_candles_written", "Candles stored, new or revised.", registry=registry)
        self.revisions = Counter(
            "candlekeep_candle_revisions",
            "Stored candles whose values changed in a later fetch.",
            registry=registry,
        )
        self.unchanged = Counter(
            "candlekeep_candles_unchanged", "Candles that were fetched again with the same values.", registry=registry
        )
        self.stale = Counter(
            "candlekeep_candles_stale",
            "Candles ignored because a newer fetch of them is stored.",
            registry=registry,
        )
        self.batch_rows = Histogram(
            "candlekeep_candle_batch_rows",
            "Candles per transaction.",
            buckets=(1, 5, 10, 50, 100, 500, 1000, 5000, 10_000, 50_000, 100_000, 200_000),
            registry=registry,
        )
        self.write_seconds = Histogram(
            "candlekeep_candle_write_seconds",
            "Duration of folding and writing a batch.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self.age_seconds = Gauge(
            "candlekeep_candle_newest_age_seconds",
            "Time from the newest fetch of the last batch to its write.",
            registry=registry,
        )
        self.series_recounted = Counter(
            "candlekeep_series_recounted",
            "Series whose daily counts were missing or differed from the ledger, and were counted again.",
            registry=registry,
        )
        self.levels_filled = Counter(
            "candlekeep_chart_level_units_filled",
            "Units of levels for charts that were filled from the candles, for the first time or again.",
            registry=registry,
        )
        self.periodic_task_failures = Counter(
            "candlekeep_candle_periodic_task_failures",
            "Failed attempts of a periodic task of candle-writer. It is tried again at its next turn.",
            ["task"],
            registry=registry,
        )

    def add_batch(self, outcome: Outcome, newest: datetime, now: datetime, seconds: float) -> None:
        """Count a batch that was written; `newest` is the time of its latest fetch."""
        self.written.inc(outcome.new + outcome.revised)
        self.revisions.inc(outcome.revised)
        self.unchanged.inc(outcome.unchanged)
        self.stale.inc(outcome.stale)
        self.batch_rows.observe(sum(outcome))
        self.write_seconds.observe(seconds)
        self.age_seconds.set((now - newest).total_seconds())
