import pytest
from faststream.kafka import KafkaBroker
from prometheus_client import CollectorRegistry

from contracts.topics import CONFIG_CHANGES, TICKS
from runtime.kafka import build_broker
from runtime.metrics import PublisherMetrics
from runtime.publisher import EventPublisher, PublishFailed
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


async def test_headers_and_tombstones_arrive_as_they_are(
    kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    tick = a_tick()
    await publisher.publish(TICKS, tick)
    await publisher.tombstone(CONFIG_CHANGES, "7")
    (record,) = await read_topic(kafka_settings, TICKS)
    assert record.headers["ce_id"] == str(tick.event_id)
    assert record.headers["ce_type"] == "TickDue"
    assert record.headers["content-type"] == "application/json"
    (tombstone,) = await read_topic(kafka_settings, CONFIG_CHANGES)
    assert (tombstone.key, tombstone.event) == ("7", None)


async def test_what_is_not_acknowledged_in_time_fails_is_counted_and_reddens_readiness(
    kafka_settings: KafkaSettings, broker: KafkaBroker
) -> None:
    registry = CollectorRegistry()
    hasty = kafka_settings.model_copy(update={"kafka_publish_timeout_seconds": 1e-6})
    publisher = EventPublisher(broker, hasty, "test", PublisherMetrics(registry))
    with pytest.raises(PublishFailed, match="ticks: no acknowledgement in time"):
        await publisher.publish_many(TICKS, ticks([1, 2]))
    assert registry.get_sample_value("candlekeep_publish_failures_total", {"topic": "ticks"}) == 2
    assert "ticks" in (publisher.readiness() or "")


async def test_a_publisher_whose_broker_is_not_started_says_so(kafka_settings: KafkaSettings) -> None:
    publisher = EventPublisher(build_broker(kafka_settings, "x"), kafka_settings, "test")
    with pytest.raises(PublishFailed):
        await publisher.publish(TICKS, a_tick())
