"""GET /services: the consumer groups of a real Kafka as the state of the services."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from aiokafka import TopicPartition

from admin_api.app import build_api
from admin_api.services.monitor import SERVICES
from contracts.topics import CANDLES
from runtime.kafka.clients import build_broker, build_consumer, topic_name
from runtime.settings import KafkaSettings
from support.api import client_of

pytestmark = [pytest.mark.postgres, pytest.mark.kafka]


@pytest.fixture
async def on_kafka(a_setting: Callable[..., Any], kafka_settings: KafkaSettings) -> AsyncIterator[httpx.AsyncClient]:
    chosen = {name: getattr(kafka_settings, name) for name in ("kafka_bootstrap_servers", "kafka_topic_prefix")}
    api = build_api(a_setting(**chosen))
    async with client_of(api) as client:
        yield client
    await api.close()


@pytest.mark.real_kafka
async def test_a_connected_instance_works_and_its_lag_is_counted(
    on_kafka: httpx.AsyncClient, kafka_settings: KafkaSettings
) -> None:
    topic = topic_name(kafka_settings, CANDLES)
    broker = build_broker(kafka_settings, "test")
    consumer = build_consumer(kafka_settings, group="candle-writer", client_id="candle-writer")
    consumer.subscribe([topic])
    await broker.start()
    await consumer.start()
    try:
        for _ in range(3):
            await broker.publish(b"{}", topic, key=b"k", partition=0)
        await consumer.commit({TopicPartition(topic, 0): 1})
        found = {each["service"]: each for each in (await on_kafka.get("/services")).json()}
    finally:
        await consumer.stop()
        await broker.stop()
    assert list(found) == list(SERVICES)
    writer = found["candle-writer"]
    assert (writer["state"], writer["instances"], writer["lag"], writer["detail"]) == ("working", 1, 2, None)
    assert (found["collector"]["state"], found["collector"]["instances"]) == ("stopped", 0)


async def test_without_kafka_the_state_is_unknown_and_says_why(client: httpx.AsyncClient) -> None:
    response = await client.get("/services")
    assert response.status_code == 200
    assert {each["state"] for each in response.json()} == {"unknown"}
    assert "Kafka does not answer" in response.json()[0]["detail"]
