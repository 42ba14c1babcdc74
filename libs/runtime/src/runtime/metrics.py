"""The metrics that all consumers and publishers have. Each service declares its other metrics in its metrics.py."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector


def new_registry() -> CollectorRegistry:
    """A registry for one process, with metrics of its memory, CPU and garbage collection."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # avoids a second series per counter
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class ConsumerMetrics:
    """The metrics of all consumers of one process. Create one object per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.lag = Gauge(
            "candlekeep_consumer_lag",
            "Messages of an assigned partition that are not handled yet.",
            ("consumer", "topic", "partition"),
            registry=registry,
        )
        self.retained = Gauge(
            "candlekeep_consumer_retained",
            "Messages of an assigned partition that Kafka still has. If the lag reaches it, unread ones are deleted.",
            ("consumer", "topic", "partition"),
            registry=registry,
        )
        self.deleted_unread = Counter(
            "candlekeep_consumer_deleted_unread",
            "Upper bound of the messages that retention deleted before the consumer group had read them.",
            ("consumer", "topic"),
            registry=registry,
        )
        self.batch_size = Histogram(
            "candlekeep_consumer_batch_size",
            "Messages per batch that a handler gets.",
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
            "Messages that were stored as dead letters because they could not be read or handled.",
            ("consumer", "topic"),
            registry=registry,
        )
        self.stopped = Gauge(
            "candlekeep_consumer_stopped",
            "1 if a consumer has reached its limit of dead letters: it stopped and needs a person.",
            ("consumer",),
            registry=registry,
        )
        self.rebalances = Counter(
            "candlekeep_consumer_rebalances",
            "Rebalances: the group assigned its partitions again.",
            ("consumer",),
            registry=registry,
        )
        self.retries = Counter(
            "candlekeep_consumer_retries",
            "Retries of a handler after a failure.",
            ("consumer",),
            registry=registry,
        )

    def report_lag(self, consumer: str, lag: Mapping[tuple[str, int], int]) -> None:
        """Set the lag by (topic, partition). The time series of all other partitions are removed, because other members
        own these partitions now.
        """
        _replace(self.lag, consumer, lag)

    def report_retained(self, consumer: str, retained: Mapping[tuple[str, int], int]) -> None:
        """Like `report_lag`, for the number of retained messages."""
        _replace(self.retained, consumer, retained)


def _replace(gauge: Gauge, consumer: str, values: Mapping[tuple[str, int], int]) -> None:
    for name, topic, partition in list(gauge._metrics):  # noqa: SLF001 -- the client has no public list of children
        if name == consumer and (topic, int(partition)) not in values:
            gauge.remove(name, topic, partition)
    for (topic, number), value in values.items():
        gauge.labels(consumer, topic, str(number)).set(value)


class PublisherMetrics:
    """The metrics of all publishers of one process. Create one object per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.failures = Counter(
            "candlekeep_publish_failures",
            "Messages that Kafka refused, or did not acknowledge in time.",
            ("topic",),
            registry=registry,
        )
