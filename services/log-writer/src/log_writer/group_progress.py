"""The progress of the whole consumer group. It is read from Kafka, because other instances may own the partitions."""

import asyncio
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.topics import RUN_EVENTS
from runtime.kafka.client_lifecycle import close_consumer
from runtime.kafka.clients import build_consumer, topic_name
from runtime.settings import KafkaSettings

_WAIT_SECONDS: Final = 3.0
_PAUSE_SECONDS: Final = 0.2
_LIMIT_SECONDS: Final = 30.0
"""The time limit for all requests together. While the group's coordinator is unavailable, each request would wait for
it.
"""


async def caught_up_partitions(settings: KafkaSettings, group: str) -> frozenset[int]:
    """The partitions of run-events whose messages, as of this call, are all committed by the group.

    The group commits after it has written, so committed messages are in the table. Raises KafkaError or TimeoutError
    if Kafka does not answer.
    """
    consumer = build_consumer(settings, group=group, client_id=f"{group}-progress")
    name = topic_name(settings, RUN_EVENTS)
    partitions = [TopicPartition(name, number) for number in range(RUN_EVENTS.partitions)]
    try:
        async with asyncio.timeout(_LIMIT_SECONDS):
            await consumer.start()
            return frozenset(partition.partition for partition in await _caught_up(consumer, partitions))
    finally:
        await close_consumer(consumer)


async def _caught_up(consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> set[TopicPartition]:
    """The partitions in which the group has committed all messages that exist at the time of the call. It waits up to
    `_WAIT_SECONDS` for the commits, because the newest messages of a busy partition are not committed yet.
    """
    begins = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    caught_up: set[TopicPartition] = set()
    deadline = asyncio.get_running_loop().time() + _WAIT_SECONDS
    while True:
        for partition in set(partitions) - caught_up:
            committed = await consumer.committed(partition)
            if (begins[partition] if committed is None else committed) >= ends[partition]:
                caught_up.add(partition)
        if len(caught_up) == len(partitions) or asyncio.get_running_loop().time() > deadline:
            return caught_up
        await asyncio.sleep(_PAUSE_SECONDS)
