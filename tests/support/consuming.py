"""Ticks for tests of consumers, the parts that a consumer needs, and the commits of a group."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client import CollectorRegistry

from contracts.configs import CollectionConfig
from contracts.coverage import Span
from contracts.event import Event
from contracts.ranges import Purpose, RangeDue, range_run_id
from contracts.ticks import TickDue
from contracts.topics import Topic
from contracts.vocabulary import Trigger
from runtime.dead_letters import DeadLetters
from runtime.kafka.aiokafka_internals import committed_with_metadata
from runtime.kafka.clients import build_consumer, topic_name
from runtime.kafka.publisher import EventPublisher
from runtime.metrics import ConsumerMetrics
from runtime.settings import KafkaSettings

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def a_config(number: int = 1, **changes: Any) -> CollectionConfig:
    values = {
        "config_id": number,
        "version": 1,
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "timeframes": ("1m",),
        "interval_minutes": 5,
        "enabled": True,
        "updated_at": NOON,
    }
    return CollectionConfig.model_validate(values | changes)


def a_tick(number: int = 1, *, lane: str = "binance") -> TickDue:
    return TickDue(
        occurred_at=NOON,
        run_id=uuid4(),
        config=a_config(number),
        trigger=Trigger.SCHEDULED,
        scheduled_for=NOON,
        deadline_seconds=60,
        lane=lane,
    )


def a_range(number: int = 1, *, lane: str = "binance") -> RangeDue:
    return RangeDue(
        occurred_at=NOON,
        run_id=range_run_id(number, 0),
        chunk_id=number,
        attempt=0,
        config_id=number,
        exchange="binance",
        symbol="BTC/USDT",
        timeframe="1m",
        span=Span(start=NOON - timedelta(hours=2), end=NOON - timedelta(hours=1)),
        purpose=Purpose.BACKFILL,
        requested_at=NOON,
        deadline_seconds=60,
        lane=lane,
    )


def ticks(numbers: Iterable[int], *, lanes: int = 1) -> Iterator[TickDue]:
    for number in numbers:
        yield a_tick(number, lane="binance" if lanes == 1 else f"binance#{number % lanes}")


def number_of(event: Event) -> int:
    """The number that `a_tick` or `a_range` was given."""
    if isinstance(event, RangeDue):
        return event.chunk_id
    assert isinstance(event, TickDue)
    return event.config.config_id


@dataclass
class Equipment:
    """The parts that a consumer needs in addition to its settings: one per instance, as in separate processes."""

    publisher: EventPublisher
    name: str = "collector"
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.metrics = ConsumerMetrics(self.registry)
        self.dead_letters = DeadLetters(self.publisher, self.name, self.metrics)

    def deleted_unread(self) -> float:
        """Messages that the consumers report as deleted by retention before they were read."""
        samples = [each for metric in self.registry.collect() for each in metric.samples]
        return sum(each.value for each in samples if each.name == "candlekeep_consumer_deleted_unread_total")


async def committed(settings: KafkaSettings, group: str, topic: Topic) -> dict[int, tuple[int, str]]:
    """The group's commits by partition number: offset and metadata. It does not join the group."""
    consumer: AIOKafkaConsumer = build_consumer(settings, group=group, client_id="observer")
    await consumer.start()
    try:
        name = topic_name(settings, topic)
        partitions = [TopicPartition(name, number) for number in range(topic.partitions)]
        return {each.partition: found for each, found in (await committed_with_metadata(consumer, partitions)).items()}
    finally:
        await consumer.stop()
