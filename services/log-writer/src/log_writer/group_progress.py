"""How far the whole group has come, asked of Kafka itself: other instances may own the partitions in question."""

import asyncio
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.topics import RUN_EVENTS
from runtime.kafka.client_lifecycle import close_consumer
from runtime.kafka.clients import build_consumer, topic_name
from runtime.settings import KafkaSettings

_PATIENCE_SECONDS: Final = 3.0
_PAUSE_SECONDS: Final = 0.2
_LIMIT_SECONDS: Final = 30.0
"""For all questions together: while the group's coordinator is away, each of them would wait for it."""


async def caught_up_partitions(settings: KafkaSettings, group: str) -> frozenset[int]:
    """The partitions of run-events of which the group has committed all that they held when this was called.

    The group commits after it has written, so what is committed is in the table. Raises KafkaError or TimeoutError
    when Kafka does not answer.
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
    """Waits a little for a group that is about to arrive: on a busy partition some commit is always under way."""
    begins = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    arrived: set[TopicPartition] = set()
    deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    while True:
        for partition in set(partitions) - arrived:
            committed = await consumer.committed(partition)
            if (begins[partition] if committed is None else committed) >= ends[partition]:
                arrived.add(partition)
        if len(arrived) == len(partitions) or asyncio.get_running_loop().time() > deadline:
            return arrived
        await asyncio.sleep(_PAUSE_SECONDS)
