"""The scheduler's metrics, each with its help text."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from scheduler.book import Book

_LATENESS_MS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 250, 500, 1000, 5000, 60000)


class SchedulerMetrics:
    """Create one per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.configs = Gauge(
            "candlekeep_scheduler_configs", "Configs in the book, by state.", ("state",), registry=registry
        )
        self.partitions = Gauge(
            "candlekeep_scheduler_partitions_live",
            "Live partitions of config-changes: this instance has restored them and publishes their ticks.",
            registry=registry,
        )
        self.ticks = Counter(
            "candlekeep_scheduler_ticks",
            "Ticks that Kafka acknowledged, by trigger.",
            ("trigger",),
            registry=registry,
        )
        self.lateness = Histogram(
            "candlekeep_scheduler_tick_lateness_seconds",
            "Time from a slot to Kafka's acknowledgement of its tick. Initial ticks have no slot and are not included.",
            buckets=tuple(milliseconds / 1000 for milliseconds in _LATENESS_MS),
            registry=registry,
        )
        self.coalesced = Counter(
            "candlekeep_scheduler_slots_coalesced",
            "Missed slots that one later tick covers, after downtime.",
            registry=registry,
        )
        self.skipped_slots = Counter(
            "candlekeep_scheduler_slots_skipped",
            "Pending slots that get no tick, because their config was disabled, deleted or got another interval.",
            registry=registry,
        )
        self.behind = Counter(
            "candlekeep_scheduler_series_behind",
            "Series in ticks whose newest candle is older than the catch-up limit. The run reads the newest page "
            "first, and the time in between stays pending.",
            registry=registry,
        )
        self.restore_seconds = Histogram(
            "candlekeep_scheduler_restore_seconds",
            "Time from the first message that was read of a partition until the partition is live.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
            registry=registry,
        )
        self.retries = Counter(
            "candlekeep_scheduler_publish_retries",
            "Batches that Kafka did not acknowledge and that are published again, by topic.",
            ("topic",),
            registry=registry,
        )
        self.clock_steps = Counter(
            "candlekeep_scheduler_clock_steps",
            "How often the wall clock was set by more than a second while the scheduler ran, by direction.",
            ("direction",),
            registry=registry,
        )
        self.clamped = Counter(
            "candlekeep_scheduler_clock_corrections",
            "Schedules with timestamps in the future that were reset to continue from now.",
            registry=registry,
        )

    def observe(self, book: Book) -> None:
        """Read the gauges from the book at each scrape."""
        self.partitions.set_function(lambda: book.live_partitions)
        self.configs.labels("enabled").set_function(lambda: book.counts_by_state()["enabled"])
        self.configs.labels("disabled").set_function(lambda: book.counts_by_state()["disabled"])
