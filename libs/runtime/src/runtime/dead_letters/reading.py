"""Reads dead letters and publishes their messages again, for the command. It joins no group and commits nothing."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import UnsupportedVersionError
from aiokafka.structs import OffsetAndTimestamp

from contracts.dead_letters import DeadLetter
from contracts.topics import DEAD_LETTERS
from runtime.dead_letters.replays import Replay
from runtime.dead_letters.stored import DeadLetterId, StoredDeadLetter
from runtime.kafka.client_lifecycle import START_SECONDS, abandon_producer, close_consumer, start_producer
from runtime.kafka.clients import MAX_MESSAGE_BYTES, build_consumer, build_producer, topic_name
from runtime.kafka.codec import UnreadableMessage, decode
from runtime.kafka.topics import verify
from runtime.settings import KafkaSettings

_READ_TIMEOUT_SECONDS = 20.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DeadLetterNotFound(Exception):  # noqa: N818 -- the name states the problem
    """No dead letter has this id. The message says which ids exist."""


class DeadLetterReader:
    """Reads the dead letters that existed when it was opened. All methods raise `KafkaError` and `TimeoutError`."""

    def __init__(
        self, consumer: AIOKafkaConsumer, begins: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> None:
        self._consumer, self._begins, self._ends = consumer, begins, ends
        self.unreadable = 0
        """Number of records that were read and are not dead letters."""

    async def read_all(self, since: datetime | None = None) -> AsyncIterator[StoredDeadLetter]:
        """All dead letters in order per partition. If `since` is given, the result contains all dead letters since
        then, and may contain some older ones.
        """
        starts = await self._starts(since)
        unread = {each for each, start in starts.items() if start < self._ends[each]}
        for each, start in starts.items():
            self._consumer.seek(each, start)
        while unread:
            for partition, records in (await self._poll(unread)).items():
                for record in records:
                    if record.offset < self._ends[partition] and (found := self._decode(record)) is not None:
                        yield found
            unread = {each for each in unread if await self._consumer.position(each) < self._ends[each]}

    async def read_one(self, wanted: DeadLetterId) -> StoredDeadLetter:
        """The dead letter with this id. Raises `DeadLetterNotFound`."""
        number = wanted.partition
        partition = next((each for each in self._ends if each.partition == number), None)
        if partition is None:
            raise DeadLetterNotFound(f"There is no dead letter {wanted}: partitions are 0 to {len(self._ends) - 1}.")
        begin, end = self._begins[partition], self._ends[partition]
        if not begin <= wanted.offset < end:
            content = f"contains {number}-{begin} to {number}-{end - 1}" if begin < end else "is empty"
            raise DeadLetterNotFound(f"There is no dead letter {wanted}: partition {number} {content}.")
        self._consumer.seek(partition, wanted.offset)
        record = (await self._poll({partition}))[partition][0]
        if record.offset != wanted.offset or (found := self._decode(record)) is None:
            raise DeadLetterNotFound(f"There is no dead letter {wanted}: the record there is not a dead letter.")
        return found

    async def _poll(self, partitions: set[TopicPartition]) -> dict[TopicPartition, list[ConsumerRecord]]:
        async with asyncio.timeout(_READ_TIMEOUT_SECONDS):
            while True:
                found: dict[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(
                    *partitions, timeout_ms=500
                )
                if found:
                    return found

    def _decode(self, record: ConsumerRecord) -> StoredDeadLetter | None:
        try:
            event = decode(DEAD_LETTERS, record.value)
        except UnreadableMessage:
            self.unreadable += 1
            return None
        assert isinstance(event, DeadLetter)  # noqa: S101 -- the topic's only event
        return StoredDeadLetter(DeadLetterId(record.partition, record.offset), event)

    async def _starts(self, since: datetime | None) -> Mapping[TopicPartition, int]:
        """The first offsets to read. Kafka's timestamp is never before `occurred_at`, so no dead letter is missed."""
        if since is None:
            return self._begins
        instant = max(0, (since - _EPOCH) // timedelta(milliseconds=1))
        try:
            found = await self._consumer.offsets_for_times(dict.fromkeys(self._ends, instant))
            first = await self._consumer.offsets_for_times(dict.fromkeys(self._ends, 0))
        except UnsupportedVersionError:
            return self._begins
        return {each: start_of(found[each], first[each], self._begins[each], end) for each, end in self._ends.items()}


def start_of(found: OffsetAndTimestamp | None, first: OffsetAndTimestamp | None, begin: int, end: int) -> int:
    """The first offset to read. `found` is the offset of the first message at or after the wanted time. `first` is the
    offset of the first message at or after 1970.

    If there is no message since the wanted time, there is nothing to read. If `first` is missing, too, the broker does
    not support the request, as librdkafka's in-memory broker does not. Then the whole partition is read.
    """
    if found is not None:
        return int(found.offset)
    return end if first is not None else begin


@asynccontextmanager
async def open_reader(settings: KafkaSettings) -> AsyncIterator[DeadLetterReader]:
    """Raises `TopicsNotReady` if the topic does not exist yet, and `KafkaError` if Kafka cannot be reached."""
    await verify(settings, [DEAD_LETTERS])
    partitions = [TopicPartition(topic_name(settings, DEAD_LETTERS), each) for each in range(DEAD_LETTERS.partitions)]
    consumer = build_consumer(settings, group="dead-letters", client_id="dead-letters", group_id=None)
    try:
        async with asyncio.timeout(START_SECONDS):
            await consumer.start()
        consumer.assign(partitions)
        async with asyncio.timeout(_READ_TIMEOUT_SECONDS):
            begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        yield DeadLetterReader(consumer, begins, ends)
    finally:
        await close_consumer(consumer)


@asynccontextmanager
async def open_replayer(settings: KafkaSettings) -> AsyncIterator["Replayer"]:
    """Uses a separate producer, because the original bytes are published again, not events."""
    producer = build_producer(
        settings, client_id="dead-letters", compression_type="lz4", max_request_size=MAX_MESSAGE_BYTES
    )
    try:
        await start_producer(producer)
        yield Replayer(producer, settings.kafka_publish_timeout_seconds)
    finally:
        await abandon_producer(producer)


class Replayer:
    """Publishes messages to their source topics."""

    def __init__(self, producer: AIOKafkaProducer, timeout_seconds: float) -> None:
        self._producer, self._timeout_seconds = producer, timeout_seconds

    async def publish(self, replay: Replay) -> None:
        """Returns when Kafka has acknowledged the message. Raises `KafkaError` or `TimeoutError`; the message may be
        stored nevertheless.
        """
        async with asyncio.timeout(self._timeout_seconds):
            await self._producer.send_and_wait(
                replay.topic,
                replay.value,
                key=replay.key,
                partition=replay.partition,
                headers=list(replay.headers),
            )
