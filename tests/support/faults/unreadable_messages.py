"""Sends messages that no consumer can read to the topics of a running system."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer

from contracts.topics import Topic
from support.faults.system import RunningSystem

UNREADABLE = (b"", b"{", b"\xff\xfe\x00", b'{"type": "Unheard"}', b'{"type": "RunFinished"}', b"[]" * 400_000, None)
SMALL_UNREADABLE = UNREADABLE[:5]


@dataclass(frozen=True)
class UnreadableSender:
    """Sends unreadable messages and records their positions, so that the checker expects them as dead letters."""

    system: RunningSystem
    producer: Any

    async def send(self, topic: Topic, value: bytes | None, *, partition: int, key: bytes = b"?") -> None:
        name = f"{self.system.stack.options.topic_prefix}{topic.name}"
        sent = await self.producer.send_and_wait(name, value, key, partition=partition)
        position = (topic.name, partition, sent.offset)
        self.system.unreadable.add(position)
        self.system.unreadable_sent_at[position] = sent.timestamp / 1000

    async def send_many(self, topic: Topic, count: int, *, partition: int) -> None:
        """Send `count` messages to one partition, one after the other."""
        for number in range(count):
            await self.send(topic, SMALL_UNREADABLE[number % len(SMALL_UNREADABLE)], partition=partition)


@asynccontextmanager
async def unreadable_sender(system: RunningSystem) -> AsyncIterator[UnreadableSender]:
    producer = AIOKafkaProducer(bootstrap_servers=system.stack.kafka, max_request_size=2_000_000)
    await producer.start()
    try:
        yield UnreadableSender(system, producer)
    finally:
        await producer.stop()
