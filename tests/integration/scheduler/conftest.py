from collections.abc import AsyncIterator

import pytest

from contracts.topics import SCHEDULE_STATE, TICKS
from runtime.kafka.clients import build_broker
from runtime.kafka.publisher import EventPublisher
from runtime.settings import KafkaSettings
from support.kafka import recording
from support.scheduling import World


@pytest.fixture
async def world(kafka_settings: KafkaSettings) -> AsyncIterator[World]:
    broker = build_broker(kafka_settings, "test", graceful_timeout=5.0)
    await broker.start()
    try:
        async with recording(kafka_settings, TICKS, SCHEDULE_STATE) as seen:
            yield World(kafka_settings, EventPublisher(broker, kafka_settings, "test"), seen)
    finally:
        await broker.stop()
