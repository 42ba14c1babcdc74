"""Topics for one test, and recorders that read published events."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from contracts.event import Event
from contracts.topics import ALL_TOPICS, Topic
from local_stack.kafka_provider import command_memory_kafka
from local_stack.keeper import KeptKafka
from runtime.kafka.clients import build_admin, topic_name
from runtime.kafka.codec import decode
from runtime.kafka.topics import topic_configs
from runtime.settings import KafkaSettings
from support.polling import eventually

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    topic: Topic
    key: str
    event: Event | None
    """None for a tombstone."""
    partition: int
    offset: int
    headers: dict[str, str]


@dataclass
class Recorder:
    """All events that were published to some topics, in order of arrival."""

    records: list[Recorded] = field(default_factory=list)

    def events(self, kind: type[E]) -> list[E]:
        return [record.event for record in self.records if isinstance(record.event, kind)]

    async def await_event(
        self, kind: type[E], matching: Callable[[E], bool] = lambda _: True, *, within: float = 10.0
    ) -> E:
        """The first matching event of this kind; waits if it has not arrived yet."""
        return (await self.await_events(kind, 1, matching, within=within))[0]

    async def await_events(
        self, kind: type[E], count: int, matching: Callable[[E], bool] = lambda _: True, *, within: float = 10.0
    ) -> list[E]:
        def matching_events() -> list[E]:
            found = [event for event in self.events(kind) if matching(event)]
            assert len(found) >= count, f"{len(found)} of {count} {kind.__name__} arrived"
            return found

        return await eventually(matching_events, within=within)


@contextlib.asynccontextmanager
async def recording(settings: KafkaSettings, *topics: Topic) -> AsyncIterator[Recorder]:
    """Record topics from their beginning until the block ends. It uses no consumer group, so it causes no rebalance."""
    recorder = Recorder()
    async with _reader(settings, topics) as (consumer, names):

        async def record() -> None:
            async for message in consumer:
                recorder.records.append(_recorded(names[message.topic], message))

        task = asyncio.create_task(record())
        try:
            yield recorder
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def read_topic(settings: KafkaSettings, topic: Topic) -> list[Recorded]:
    """The records of the topic, partition by partition."""
    async with _reader(settings, [topic]) as (consumer, _):
        ends = await consumer.end_offsets(consumer.assignment())
        records = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for messages in (await consumer.getmany(timeout_ms=200)).values():
                records += [_recorded(topic, message) for message in messages]
    return sorted(records, key=lambda record: (record.partition, record.offset))


@contextlib.asynccontextmanager
async def _reader(settings: KafkaSettings, topics: Sequence[Topic]) -> AsyncIterator[tuple[Any, dict[str, Topic]]]:
    names = {topic_name(settings, topic): topic for topic in topics}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers.split(","),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=20,
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(name, number) for name, t in names.items() for number in range(t.partitions)])
        await consumer.seek_to_beginning()
        yield consumer, names
    finally:
        await consumer.stop()


def _recorded(topic: Topic, message: Any) -> Recorded:
    return Recorded(
        topic=topic,
        key=(message.key or b"").decode(),
        event=None if message.value is None else decode(topic, message.value),
        partition=message.partition,
        offset=message.offset,
        headers={name: value.decode() for name, value in message.headers},
    )


async def delete_records(settings: KafkaSettings, topic: Topic, before: int) -> None:
    """Delete the records before an offset in every partition that has them, as retention does."""
    name = topic_name(settings, topic)
    async with _reader(settings, [topic]) as (consumer, _):
        ends = await consumer.end_offsets(consumer.assignment())
    beginnings = {each: RecordsToDelete(before_offset=before) for each, end in ends.items() if end >= before}
    assert beginnings, f"no partition of {name} has {before} records"
    async with administration(settings) as admin:
        await admin.delete_records(beginnings)


async def create_topics(kafka: KeptKafka, settings: KafkaSettings, topics: Sequence[Topic] = ALL_TOPICS) -> None:
    if kafka.control is not None:
        created = [f"create {topic_name(settings, topic)} {topic.partitions}" for topic in topics]
        await command_memory_kafka(kafka.control, created)
        return
    # `provision` creates one topic after the other; that is too slow for hundreds of tests.
    new = [NewTopic(topic_name(settings, t), t.partitions, 1, topic_configs=topic_configs(t, 1)) for t in topics]
    async with administration(settings) as admin:
        response = await admin.create_topics(new)
    refused = [f"{name}: {message}" for name, code, message in response.topic_errors if code]
    assert not refused, refused
    await _until_visible(settings, topics)


async def _until_visible(settings: KafkaSettings, topics: Sequence[Topic]) -> None:
    """The controller has them a moment before the broker tells clients of them."""
    names = [topic_name(settings, topic) for topic in topics]
    async with administration(settings) as admin:

        async def visible() -> bool:
            described = await admin.describe_topics(names)
            return not any(topic["error_code"] for topic in described)

        await eventually(visible, within=30)


async def delete_topics(kafka: KeptKafka, settings: KafkaSettings, topics: Sequence[Topic] = ALL_TOPICS) -> None:
    """Otherwise the 75 partitions of each test would slow down the shared broker until the end of the run."""
    names = [topic_name(settings, topic) for topic in topics]
    if kafka.control is not None:
        await command_memory_kafka(kafka.control, [f"delete {name}" for name in names])
        return
    async with administration(settings) as admin:
        await admin.delete_topics(names)


@contextlib.asynccontextmanager
async def administration(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = build_admin(settings)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()
