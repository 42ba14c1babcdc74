import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from contracts.topics import ALL_TOPICS, CONFIG_CHANGES
from runtime.kafka.clients import topic_name
from runtime.settings import KafkaSettings
from support.kafka import read_topic


@pytest.mark.kafka
@pytest.mark.parametrize("attempt", range(4))
async def test_every_test_has_its_own_topics(kafka_settings: KafkaSettings, attempt: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_settings.kafka_bootstrap_servers)
    await producer.start()
    try:
        for topic in ALL_TOPICS:
            partitions = await producer.partitions_for(topic_name(kafka_settings, topic))
            assert len(partitions) == topic.partitions
        await producer.send_and_wait(topic_name(kafka_settings, CONFIG_CHANGES), key=b"7", value=None)
    finally:
        await producer.stop()
    (record,) = await read_topic(kafka_settings, CONFIG_CHANGES)
    assert (record.key, record.event) == ("7", None)


@pytest.mark.postgres
@pytest.mark.parametrize("attempt", range(4))
async def test_every_test_has_an_empty_migrated_database(database_url: str, attempt: int) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM data_collection_configs") == 0
        await connection.execute("CREATE TABLE left_over ()")
    finally:
        await connection.close()
