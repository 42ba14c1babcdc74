import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiokafka.admin import NewTopic
from faststream.kafka import KafkaBroker
from prometheus_client import CollectorRegistry

from contracts.topics import CONFIG_CHANGES, TICKS, Topic
from runtime.kafka.aiokafka_internals import producer_of
from runtime.kafka.clients import build_admin, build_broker, topic_name
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.metrics import PublisherMetrics
from runtime.process.producer_watch import ProducerDied, ProducerWatch
from runtime.settings import KafkaSettings
from support.consuming import a_tick, ticks
from support.kafka import read_topic

pytestmark = pytest.mark.kafka


async def test_events_of_one_key_share_a_partition_and_keep_their_order(
    kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    sent = list(ticks(range(1, 401), lanes=20))
    await publisher.publish_many(TICKS, sent)
    records = await read_topic(kafka_settings, TICKS)
    assert len(records) == 400
    for lane in {tick.lane for tick in sent}:
        mine = [record for record in records if record.key == lane]
        assert len({record.partition for record in mine}) == 1
        assert [record.event for record in mine] == [tick for tick in sent if tick.lane == lane]
    assert len({record.partition for record in records}) > 5


async def test_headers_and_tombstones_arrive_unchanged(
    kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    tick = a_tick()
    await publisher.publish(TICKS, tick)
    await publisher.tombstone(CONFIG_CHANGES, "7")
    (record,) = await read_topic(kafka_settings, TICKS)
    assert record.headers["ce_id"] == record.headers["correlation_id"] == str(tick.event_id)
    assert record.headers["ce_type"] == "TickDue"
    assert record.headers["content-type"] == "application/json"
    (tombstone,) = await read_topic(kafka_settings, CONFIG_CHANGES)
    assert (tombstone.key, tombstone.event) == ("7", None)


async def test_a_publication_without_acknowledgement_fails_is_counted_and_makes_the_process_not_ready(
    kafka_settings: KafkaSettings, broker: KafkaBroker
) -> None:
    registry = CollectorRegistry()
    hasty = kafka_settings.model_copy(update={"kafka_publish_timeout_seconds": 1e-6})
    publisher = EventPublisher(broker, hasty, "test", PublisherMetrics(registry))
    with pytest.raises(PublishFailed, match="ticks: no acknowledgement in time"):
        await publisher.publish_many(TICKS, ticks([1, 2]))
    assert registry.get_sample_value("candlekeep_publish_failures_total", {"topic": "ticks"}) == 2
    assert "ticks" in (publisher.readiness() or "")
    await publisher.publish_many(TICKS, [])
    assert "ticks" in (publisher.readiness() or ""), "publishing nothing shows nothing about Kafka"


@pytest.mark.real_kafka  # the in-memory broker refuses no message
async def test_messages_after_a_refused_one_are_published(
    kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    async with a_narrow_topic(kafka_settings, size=2_000) as narrow:
        await publisher.publish(narrow, a_tick(1))
        for _ in range(2):
            with pytest.raises(PublishFailed, match="MessageSizeTooLarge"):
                await publisher.publish_raw(narrow, key="binance", value=os.urandom(5_000), headers={})
            assert "MessageSizeTooLarge" in (publisher.readiness() or "")
            await publisher.publish_many(narrow, [a_tick(2), a_tick(3)])
            assert publisher.readiness() is None


@asynccontextmanager
async def a_narrow_topic(settings: KafkaSettings, size: int) -> AsyncIterator[Topic]:
    """A topic with one partition and a limit of `size` bytes per message."""
    topic = replace(TICKS, name="narrow")
    admin = build_admin(settings)
    await admin.start()
    name = topic_name(settings, topic)
    try:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs={"max.message.bytes": str(size)})])
        yield topic
        await admin.delete_topics([name])
    finally:
        await admin.close()


async def test_a_permanently_failed_producer_ends_its_worker(broker: KafkaBroker) -> None:
    watch = ProducerWatch(broker)
    watching = asyncio.create_task(watch.run())
    assert watch.liveness() is None
    producer = producer_of(broker)
    assert producer is not None
    producer._sender.sender_task.cancel()
    with pytest.raises(ProducerDied, match="sending task has ended"):
        await asyncio.wait_for(watching, 10)
    assert watch.liveness() is not None


async def test_a_publisher_reports_that_its_broker_is_not_started(kafka_settings: KafkaSettings) -> None:
    publisher = EventPublisher(build_broker(kafka_settings, "x"), kafka_settings, "test")
    with pytest.raises(PublishFailed):
        await publisher.publish(TICKS, a_tick())
