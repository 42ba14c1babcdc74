"""The scheduler's own metrics, each with a sentence."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from scheduler.book import Book

_LATENESS_MS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 250, 500, 1000, 5000, 60000)


class SchedulerMetrics:
    """Make one per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.configs = Gauge(
            "candlekeep_scheduler_configs", "Configs that this instance holds, by state.", ("state",), registry=registry
        )
        self.partitions = Gauge(
            "candlekeep_scheduler_partitions_live",
            "Partitions of config-changes that this instance owns, has restored and ticks for.",
            registry=registry,
        )
        self.ticks = Counter(
            "candlekeep_scheduler_ticks",
            "Ticks that Kafka acknowledged, by what triggered them.",
            ("trigger",),
            registry=registry,
        )
        self.lateness = Histogram(
            "candlekeep_scheduler_tick_lateness_seconds",
            "From a slot to Kafka's acknowledgement of its tick; initial ticks have no slot and are not in it.",
            buckets=tuple(milliseconds / 1000 for milliseconds in _LATENESS_MS),
            registry=registry,
        )
        self.coalesced = Counter(
            "candlekeep_scheduler_slots_coalesced",
            "Missed slots that a later tick made up for, after downtime.",
            registry=registry,
        )
        self.skipped_slots = Counter(
            "candlekeep_scheduler_slots_skipped",
            "Slots owed when their config was disabled, deleted or given another interval, which never got a tick.",
            registry=registry,
        )
        self.cut = Counter(
            "candlekeep_scheduler_windows_truncated",
            "Ticks whose window was cut to the catch-up limit, so that a stretch before it is not collected.",
            registry=registry,
        )
        self.restore_seconds = Histogram(
            "candlekeep_scheduler_restore_seconds",
            "From the first message read of a partition until it was restored and live.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
            registry=registry,
        )
        self.retries = Counter(
            "candlekeep_scheduler_publish_retries",
            "Batches that Kafka did not acknowledge and that were tried again, by topic.",
            ("topic",),
            registry=registry,
        )
        self.clock_steps = Counter(
            "candlekeep_scheduler_clock_steps",
            "Times that the wall clock was set by more than a second while the scheduler ran, by direction.",
            ("direction",),
            registry=registry,
        )

        self.clamped = Counter(
            "candlekeep_scheduler_clock_corrections",
            "Schedules that said they had come further than the clock has, and were set to go on from now.",
            registry=registry,
        )

    def observe(self, book: Book) -> None:
        """Read the gauges from the book whenever they are scraped."""
        self.partitions.set_function(lambda: book.live_partitions)
        self.configs.labels("enabled").set_function(lambda: book.census()["enabled"])
        self.configs.labels("disabled").set_function(lambda: book.census()["disabled"])
