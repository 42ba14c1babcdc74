"""Reading the dead letters and publishing them again, by a person's order. No group is joined, nothing is committed."""

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
from runtime.kafka.clients import MAX_MESSAGE_BYTES, bootstrap_list, topic_name
from runtime.kafka.codec import UnreadableMessage, decode
from runtime.kafka.topics import verify
from runtime.settings import KafkaSettings

_PATIENCE_SECONDS = 20.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NoSuchLetter(Exception):  # noqa: N818 -- it names what is not there
    """No dead letter has this id; the message says which there are."""


class DeadLetterReader:
    """The dead letters that were there when it was opened. Raises `KafkaError` and `TimeoutError` throughout."""

    def __init__(
        self, consumer: AIOKafkaConsumer, begins: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> None:
        self._consumer, self._begins, self._ends = consumer, begins, ends
        self.unreadable = 0
        """Records met that are no dead letters."""

    async def letters(self, since: datetime | None = None) -> AsyncIterator[StoredDeadLetter]:
        """All of them in order per partition, the earliest not before the first that was put aside at `since`. Some
        older ones may be among them.
        """
        starts = await self._starts(since)
        unread = {each for each, start in starts.items() if start < self._ends[each]}
        for each, start in starts.items():
            self._consumer.seek(each, start)
        while unread:
            for partition, records in (await self._some(unread)).items():
                for record in records:
                    if record.offset < self._ends[partition] and (found := self._read(record)) is not None:
                        yield found
            unread = {each for each in unread if await self._consumer.position(each) < self._ends[each]}

    async def letter(self, place: DeadLetterId) -> StoredDeadLetter:
        """The one with this id. Raises `NoSuchLetter`."""
        partition = next((each for each in self._ends if each.partition == place.partition), None)
        if partition is None:
            raise NoSuchLetter(f"There is no dead letter {place}: partitions are 0 to {len(self._ends) - 1}.")
        begin, end = self._begins[partition], self._ends[partition]
        if not begin <= place.offset < end:
            held = f"holds {place.partition}-{begin} to {place.partition}-{end - 1}" if begin < end else "is empty"
            raise NoSuchLetter(f"There is no dead letter {place}: partition {place.partition} {held}.")
        self._consumer.seek(partition, place.offset)
        record = (await self._some({partition}))[partition][0]
        if record.offset != place.offset or (found := self._read(record)) is None:
            raise NoSuchLetter(f"There is no dead letter {place}: what lies there is something else.")
        return found

    async def _some(self, partitions: set[TopicPartition]) -> dict[TopicPartition, list[ConsumerRecord]]:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                found: dict[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(
                    *partitions, timeout_ms=500
                )
                if found:
                    return found

    def _read(self, record: ConsumerRecord) -> StoredDeadLetter | None:
        try:
            event = decode(DEAD_LETTERS, record.value)
        except UnreadableMessage:
            self.unreadable += 1
            return None
        assert isinstance(event, DeadLetter)  # noqa: S101 -- the topic's only event
        return StoredDeadLetter(DeadLetterId(record.partition, record.offset), event)

    async def _starts(self, since: datetime | None) -> Mapping[TopicPartition, int]:
        """Where to begin. A letter is published after it was put aside, so none is missed by asking for its time."""
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
    """From the offsets of the first message since then, and of the first since 1970.

    No message since then: nothing to read. Unless there is none since 1970 either: then the broker does not answer
    such questions (librdkafka's in-memory one does not), and everything is looked at.
    """
    if found is not None:
        return int(found.offset)
    return end if first is not None else begin


@asynccontextmanager
async def open_reader(settings: KafkaSettings) -> AsyncIterator[DeadLetterReader]:
    """Raises `TopicsNotReady` where there are no dead letters yet, `KafkaError` where there is no Kafka."""
    await verify(settings, [DEAD_LETTERS])
    partitions = [TopicPartition(topic_name(settings, DEAD_LETTERS), each) for each in range(DEAD_LETTERS.partitions)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_list(settings),
        client_id="dead-letters",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=settings.kafka_request_timeout_ms,
        fetch_max_wait_ms=settings.kafka_fetch_max_wait_ms,
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            await consumer.start()
        consumer.assign(partitions)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        yield DeadLetterReader(consumer, begins, ends)
    finally:
        await close_consumer(consumer)


@asynccontextmanager
async def open_replayer(settings: KafkaSettings) -> AsyncIterator["Replayer"]:
    """A producer of its own: what was once published is published again as it was."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_list(settings),
        client_id="dead-letters",
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        max_request_size=MAX_MESSAGE_BYTES,
        request_timeout_ms=settings.kafka_request_timeout_ms,
    )
    try:
        await start_producer(producer)
        yield Replayer(producer, settings.kafka_publish_timeout_seconds)
    finally:
        await abandon_producer(producer)


class Replayer:
    """Publishes to source topics."""

    def __init__(self, producer: AIOKafkaProducer, patience: float) -> None:
        self._producer, self._patience = producer, patience

    async def publish(self, replay: Replay) -> None:
        """Return once it is acknowledged. Raises `KafkaError` or `TimeoutError`; it may have arrived nonetheless."""
        async with asyncio.timeout(self._patience):
            await self._producer.send_and_wait(
                replay.topic,
                replay.value,
                key=replay.key,
                partition=replay.partition,
                headers=list(replay.headers),
            )
