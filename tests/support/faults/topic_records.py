"""Reads all records of a topic, as bytes."""

from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.topics import Topic
from local_stack.stack import Stack


async def read_records(stack: Stack, topic: Topic) -> list[Any]:
    """Return all records that the topic holds now, in the order of each partition."""
    # earliest: with latest, a late lookup of the end offset could override the start.
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stack.kafka.split(","), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    records: list[Any] = []
    try:
        await consumer.start()
        name = f"{stack.options.topic_prefix}{topic.name}"
        partitions = [TopicPartition(name, number) for number in range(topic.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                records += batch
    finally:
        await consumer.stop()
    return records
