"""Records as a consumer gets them, and dead letters that are stored in memory instead of published."""

from typing import Any

from aiokafka import ConsumerRecord
from faststream.kafka import KafkaBroker
from prometheus_client import CollectorRegistry
from typing_extensions import override

from contracts.dead_letters import DeadLetter
from contracts.event import Event
from contracts.topics import DEAD_LETTERS, Topic
from runtime.dead_letters import DeadLetters
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.metrics import ConsumerMetrics
from runtime.settings import DeadLetterSettings, KafkaSettings


def a_record(**changes: Any) -> ConsumerRecord:
    values = {
        "topic": "ticks",
        "partition": 0,
        "offset": 0,
        "timestamp": 0,
        "timestamp_type": 0,
        "key": b"binance",
        "value": b"?",
        "checksum": None,
        "serialized_key_size": 7,
        "serialized_value_size": 1,
        "headers": (),
    }
    return ConsumerRecord(**{**values, **changes})


class InMemoryPublisher(EventPublisher):
    """Stores dead letters instead of publishing them. The first `refusals` publications fail."""

    def __init__(self, refusals: int = 0) -> None:
        settings = KafkaSettings(kafka_bootstrap_servers="nowhere:1")
        super().__init__(KafkaBroker("nowhere:1"), settings, "test")
        self.events: list[Event] = []
        self.refusals = refusals

    @override
    async def publish(self, topic: Topic, event: Event) -> None:
        assert topic is DEAD_LETTERS
        if self.refusals:
            self.refusals -= 1
            raise PublishFailed("no acknowledgement in time")
        self.events.append(event)


class InMemoryDeadLetters(DeadLetters):
    """The dead letters of a consumer, stored in memory."""

    def __init__(self, refusals: int = 0, **limits: Any) -> None:
        self.registry = CollectorRegistry()
        self.publisher = InMemoryPublisher(refusals)
        super().__init__(self.publisher, "log-writer", ConsumerMetrics(self.registry), DeadLetterSettings(**limits))

    @property
    def letters(self) -> list[DeadLetter]:
        return [event for event in self.publisher.events if isinstance(event, DeadLetter)]

    @property
    def offsets(self) -> list[int]:
        return [letter.source_offset for letter in self.letters]
