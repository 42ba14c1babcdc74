"""The metrics that all consumers and publishers share, each with a sentence. A service's own are in its metrics.py."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector


def new_registry() -> CollectorRegistry:
    """A registry of this process' own, with its memory, CPU and garbage collection."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter, which nobody reads
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class ConsumerMetrics:
    """What the consumers of one process have in common. Make one per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.lag = Gauge(
            "candlekeep_consumer_lag",
            "Messages of an assigned partition that are not handled yet.",
            ("consumer", "topic", "partition"),
            registry=registry,
        )
        self.retained = Gauge(
            "candlekeep_consumer_retained",
            "Messages of an assigned partition that Kafka still has. Unread ones are deleted when the lag reaches it.",
            ("consumer", "topic", "partition"),
            registry=registry,
        )
        self.deleted_unread = Counter(
            "candlekeep_consumer_deleted_unread",
            "Messages that retention deleted before their consumer group had read them, at most.",
            ("consumer", "topic"),
            registry=registry,
        )
        self.batch_size = Histogram(
            "candlekeep_consumer_batch_size",
            "Messages per batch handed to a handler.",
            ("consumer",),
            buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000),
            registry=registry,
        )
        self.in_flight = Gauge(
            "candlekeep_consumer_in_flight",
            "Messages that the collector handles now. The writers have faststream_received_messages_in_process.",
            ("consumer",),
            registry=registry,
        )
        self.waiting = Gauge(
            "candlekeep_consumer_waiting",
            "Messages that were read and wait for a place in their lane.",
            ("consumer",),
            registry=registry,
        )
        self.dead_letters = Counter(
            "candlekeep_dead_letters",
            "Messages put aside because nobody could read or store them.",
            ("consumer", "topic"),
            registry=registry,
        )
        self.stopped = Gauge(
            "candlekeep_consumer_stopped",
            "1 once a consumer has reached its limit of dead letters: it consumes no more and waits for a person.",
            ("consumer",),
            registry=registry,
        )
        self.rebalances = Counter(
            "candlekeep_consumer_rebalances",
            "Times that the group handed out its partitions anew.",
            ("consumer",),
            registry=registry,
        )
        self.retries = Counter(
            "candlekeep_consumer_retries",
            "Times that a handler failed and was tried again.",
            ("consumer",),
            registry=registry,
        )

    def report_lag(self, consumer: str, lag: Mapping[tuple[str, int], int]) -> None:
        """Lag by (topic, partition). Partitions that are not named are somebody else's now: their series end."""
        _replace(self.lag, consumer, lag)

    def report_retained(self, consumer: str, retained: Mapping[tuple[str, int], int]) -> None:
        """As `report_lag`."""
        _replace(self.retained, consumer, retained)


def _replace(gauge: Gauge, consumer: str, values: Mapping[tuple[str, int], int]) -> None:
    for name, topic, partition in list(gauge._metrics):  # noqa: SLF001 -- the client offers no list of children
        if name == consumer and (topic, int(partition)) not in values:
            gauge.remove(name, topic, partition)
    for (topic, number), value in values.items():
        gauge.labels(consumer, topic, str(number)).set(value)


class PublisherMetrics:
    """What publishers have in common. Make one per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.failures = Counter(
            "candlekeep_publish_failures",
            "Publications that were refused, or not acknowledged in time.",
            ("topic",),
            registry=registry,
        )
