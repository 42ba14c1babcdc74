"""What nobody can read, put into a running system's topics."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer

from contracts.topics import Topic
from support.faults.system import Operated

POISON = (b"", b"{", b"\xff\xfe\x00", b'{"type": "Unheard"}', b'{"type": "RunFinished"}', b"[]" * 400_000, None)
SMALL_POISON = POISON[:5]


@dataclass(frozen=True)
class Poisoner:
    """Sends it, and tells the system's history, so that the checker expects it in the dead letters."""

    system: Operated
    producer: Any

    async def send(self, topic: Topic, value: bytes | None, *, partition: int, key: bytes = b"?") -> None:
        name = f"{self.system.stack.options.topic_prefix}{topic.name}"
        sent = await self.producer.send_and_wait(name, value, key, partition=partition)
        place = (topic.name, partition, sent.offset)
        self.system.poison.add(place)
        self.system.poisoned_at[place] = sent.timestamp / 1000

    async def send_many(self, topic: Topic, count: int, *, partition: int) -> None:
        """So many in a row."""
        for number in range(count):
            await self.send(topic, SMALL_POISON[number % len(SMALL_POISON)], partition=partition)


@asynccontextmanager
async def poisoning(system: Operated) -> AsyncIterator[Poisoner]:
    producer = AIOKafkaProducer(bootstrap_servers=system.stack.kafka, max_request_size=2_000_000)
    await producer.start()
    try:
        yield Poisoner(system, producer)
    finally:
        await producer.stop()
