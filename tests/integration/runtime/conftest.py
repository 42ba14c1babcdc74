from collections.abc import AsyncIterator

import pytest
from faststream.kafka import KafkaBroker

from runtime.kafka.clients import build_broker
from runtime.kafka.publisher import EventPublisher
from runtime.settings import KafkaSettings
from support.consuming import Equipment


@pytest.fixture
async def broker(kafka_settings: KafkaSettings) -> AsyncIterator[KafkaBroker]:
    broker = build_broker(kafka_settings, "test", graceful_timeout=5.0)
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
def publisher(broker: KafkaBroker, kafka_settings: KafkaSettings) -> EventPublisher:
    return EventPublisher(broker, kafka_settings, "test")


@pytest.fixture
def equipment(publisher: EventPublisher) -> Equipment:
    return Equipment(publisher)
