"""The metrics of the backfiller. `runtime.metrics` has those of consumers and dead letters; FastStream adds its own."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from backfiller.chunks import Chunk
from backfiller.counts import ChunkCounts
from backfiller.plans import Planned


class BackfillerMetrics:
    """Make one per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requested = Counter(
            "candlekeep_backfill_requests", "Requests of chunks that Kafka has acknowledged.", registry=registry
        )
        self.ended = Counter(
            "candlekeep_backfill_attempts_ended",
            "Attempts of chunks that ended, by the state of the chunk after it. waiting: it is requested again.",
            ("state",),
            registry=registry,
        )
        self.planned = Counter(
            "candlekeep_backfill_chunks_planned",
            "Chunks that were created for history or for a hole.",
            registry=registry,
        )
        self.cancelled = Counter(
            "candlekeep_backfill_chunks_cancelled",
            "Waiting chunks that no config or backfill wants any more.",
            registry=registry,
        )
        self.plan_seconds = Histogram(
            "candlekeep_backfill_plan_seconds",
            "Duration of the transaction that plans up to 500 series.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self.chunks = Gauge(
            "candlekeep_backfill_chunks",
            "Chunks that have not ended, by exchange and state, counted in the database.",
            ("exchange", "state"),
            registry=registry,
        )
        self.open_seconds = Gauge(
            "candlekeep_backfill_open_seconds",
            "The time that the chunks of an exchange which have not ended span, in seconds, over all series.",
            ("exchange",),
            registry=registry,
        )
        self.oldest_seconds = Gauge(
            "candlekeep_backfill_oldest_chunk_seconds",
            "Age of the oldest chunk of an exchange that has not ended, in seconds.",
            ("exchange",),
            registry=registry,
        )
        self.periodic_task_failures = Counter(
            "candlekeep_backfill_periodic_task_failures",
            "Failures of counting chunks and of announcing progress. They are tried again at their next turn.",
            ("task",),
            registry=registry,
        )

    def add_changed(self, chunks: Iterable[Chunk]) -> None:
        """Count the chunks whose attempt has ended."""
        for chunk in chunks:
            if not chunk.in_flight:
                self.ended.labels(chunk.state.value).inc()

    def add_plan(self, planned: Planned, seconds: float) -> None:
        """Count a transaction of planning."""
        self.planned.inc(planned.created)
        self.cancelled.inc(planned.cancelled)
        if planned.series:
            self.plan_seconds.observe(seconds)

    def set_counts(self, counts: ChunkCounts) -> None:
        """Replace all numbers of chunks."""
        for gauge in (self.chunks, self.open_seconds, self.oldest_seconds):
            gauge.clear()
        for labels, chunks in counts.chunks.items():
            self.chunks.labels(*labels).set(chunks)
        for gauge, values in ((self.open_seconds, counts.open_seconds), (self.oldest_seconds, counts.oldest_seconds)):
            for exchange, seconds in values.items():
                gauge.labels(exchange).set(seconds)
