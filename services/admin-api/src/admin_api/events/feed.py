"""Reads every partition of the streamed topics while the API runs. It uses no consumer group, and starts with the
messages of the last few minutes.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import ConsumerStoppedError, IllegalOperation, KafkaError

from admin_api.events.buffer import EventBuffer
from admin_api.events.positions import Positions
from admin_api.events.topics import PARTITIONS, STREAMED_TOPICS, TOPICS, Partition, streamed_event
from admin_api.metrics import Metrics
from contracts.topics import EXCHANGE_HEALTH
from runtime.kafka.client_lifecycle import close_consumer, start_consumer
from runtime.kafka.clients import build_consumer, topic_name
from runtime.kafka.codec import UnreadableMessage, decode
from runtime.kafka.topics import TopicsNotReady, verify
from runtime.lifecycle.background import Background
from runtime.logs import log
from runtime.settings import KafkaSettings
from runtime.waiting import wait_for_event

REPLAY_SECONDS: Final = 300.0
"""How far back the first reading begins. A client that was disconnected for at most this time can resume at any
instance without a reset.
"""

_POLL_MS: Final = 1000
_RETRY_SECONDS: Final = 2.0
_LOG_INTERVAL_SECONDS: Final = 30.0
_REQUEST_TIMEOUT_SECONDS: Final = 30.0
_OUTAGE_ERRORS: Final = (KafkaError, ConsumerStoppedError, IllegalOperation, TopicsNotReady, OSError)


class EventFeed:
    """`run` until `stop`. During an outage of Kafka it retries, and the event streams wait."""

    def __init__(
        self, settings: KafkaSettings, metrics: Metrics, buffer: EventBuffer, wall: Callable[[], float] = time.time
    ) -> None:
        self._settings, self._metrics, self._wall = settings, metrics, wall
        self.buffer = buffer
        self._consumer: AIOKafkaConsumer | None = None
        self._stopping = asyncio.Event()
        self._new_events = asyncio.Event()
        """Replaced after each use, so that every stream that waits for it is woken exactly once."""

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def background(self) -> Background:
        return Background("event feed", self.run, self.stop)

    async def stop(self) -> None:
        """Stop reading, and end every event stream. Otherwise the server would wait for the streams when it stops."""
        self._stopping.set()
        self._wake()

    async def wait_for_new_events(self, timeout_seconds: float) -> bool:
        """Wait until new events were read or the feed stops; False if the timeout expires first."""
        return await wait_for_event(self._new_events, timeout_seconds)

    async def wait_for_stop(self, timeout_seconds: float) -> bool:
        """Wait until the feed stops; False if the timeout expires first."""
        return await wait_for_event(self._stopping, timeout_seconds)

    async def run(self) -> None:
        logged_at = float("-inf")
        while not self._stopping.is_set():
            try:
                await self._read_until_stopped()
            except _OUTAGE_ERRORS as error:
                if time.monotonic() - logged_at >= _LOG_INTERVAL_SECONDS:
                    logged_at = time.monotonic()
                    log.warning(
                        "Cannot read events from Kafka; event streams wait until it answers",
                        action="event_feed_retry",
                        error=str(error) or repr(error),
                    )
                await wait_for_event(self._stopping, _RETRY_SECONDS)

    async def _read_until_stopped(self) -> None:
        # Without an automatic reset, the consumer reports at once if Kafka no longer has its position, even for an
        # empty topic.
        build = lambda: build_consumer(  # noqa: E731
            self._settings, group="live", client_id="admin-api-live", group_id=None, auto_offset_reset="none"
        )
        consumer = await start_consumer(build, self._stopping, group="live")
        if consumer is None:
            return
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_SECONDS):
                await verify(self._settings, STREAMED_TOPICS)
                await self._assign_partitions(consumer)
            self._consumer = consumer
            while not self._stopping.is_set():
                batches = await consumer.getmany(timeout_ms=_POLL_MS)
                if restarted := self._restarted_partitions(batches):
                    self._restart_buffer(restarted)
                    return  # the next start compares the topic's other partitions with Kafka's offsets
                self._add_batches(batches)
        finally:
            self._consumer = None
            await close_consumer(consumer)

    async def kafka_reaches(self, positions: Positions) -> bool | None:
        """Whether every partition in Kafka has at least these end offsets. None while Kafka does not answer."""
        if self._consumer is None:
            return None
        partitions = {partition: self._topic_partition(partition) for partition in positions}
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_SECONDS):
                ends = await self._consumer.end_offsets(list(partitions.values()))
        except _OUTAGE_ERRORS:
            return None
        return all(offset <= ends[partitions[partition]] for partition, offset in positions.items())

    async def _assign_partitions(self, consumer: AIOKafkaConsumer) -> None:
        """Continue at the buffer's positions. At the first start, begin a few minutes in the past.

        The states of exchanges are always read from the beginning of their topic. If Kafka no longer has the buffer's
        positions, every event stream sends a reset.
        """
        partitions = {partition: self._topic_partition(partition) for partition in PARTITIONS}
        consumer.assign(list(partitions.values()))
        if not self.buffer.is_started:
            self.buffer.start(await self._start_offsets(consumer, partitions))
        elif lost := await self._lost_positions(consumer, partitions):
            self._restart_buffer(lost)
        for partition, offset in self.buffer.positions.items():
            consumer.seek(partitions[partition], offset)
        self._wake()

    async def _start_offsets(
        self, consumer: AIOKafkaConsumer, partitions: dict[Partition, TopicPartition]
    ) -> Positions:
        since_ms = int((self._wall() - REPLAY_SECONDS) * 1000)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions.values(), since_ms))
        ends = await consumer.end_offsets(list(partitions.values()))
        beginnings = await consumer.beginning_offsets(list(partitions.values()))
        starts: Positions = {}
        for partition, in_kafka in partitions.items():
            if partition[0] == EXCHANGE_HEALTH.name:
                starts[partition] = beginnings[in_kafka]
            else:
                starts[partition] = found[in_kafka].offset if found[in_kafka] is not None else ends[in_kafka]
        return starts

    async def _lost_positions(
        self, consumer: AIOKafkaConsumer, partitions: dict[Partition, TopicPartition]
    ) -> Positions:
        """The partitions whose position Kafka no longer has, each with the offset at which to continue.

        The offsets of a topic that was created again begin at 0.
        """
        beginnings = await consumer.beginning_offsets(list(partitions.values()))
        ends = await consumer.end_offsets(list(partitions.values()))
        positions = self.buffer.positions
        return {
            partition: beginnings[in_kafka]
            for partition, in_kafka in partitions.items()
            if not beginnings[in_kafka] <= positions[partition] <= ends[in_kafka]
        }

    def _restarted_partitions(self, batches: dict[TopicPartition, list[Any]]) -> Positions:
        """The partitions whose first new message has an offset below the position of this process, each with this
        offset.
        """
        positions = self.buffer.positions
        starts = {self._partition(in_kafka): records[0].offset for in_kafka, records in batches.items()}
        return {partition: offset for partition, offset in starts.items() if offset < positions[partition]}

    def _restart_buffer(self, lost: Positions) -> None:
        log.warning(
            "Kafka no longer has the positions of the event feed: a topic was created again, or retention deleted "
            "events that were not read. All event streams send a reset",
            action="live_positions_lost",
            topics=sorted({topic for topic, _ in lost}),
        )
        self.buffer.start(self.buffer.positions | lost)

    def _add_batches(self, batches: dict[TopicPartition, list[Any]]) -> None:
        for in_kafka, records in batches.items():
            partition = self._partition(in_kafka)
            for record in records:
                self._add_record(partition, record)
        if batches:
            self._wake()

    def _add_record(self, partition: Partition, record: Any) -> None:
        try:
            event = decode(TOPICS[partition[0]], record.value)
        except UnreadableMessage:  # a tombstone, or a message that the consuming services store as a dead letter
            self.buffer.advance(partition, record.offset)
            return
        self.buffer.add(streamed_event(event, record.value.decode(), partition, record.offset, record.timestamp))
        self._metrics.event_stream_events.labels(partition[0]).inc()

    def _topic_partition(self, partition: Partition) -> TopicPartition:
        return TopicPartition(topic_name(self._settings, TOPICS[partition[0]]), partition[1])

    def _partition(self, in_kafka: TopicPartition) -> Partition:
        return in_kafka.topic.removeprefix(self._settings.kafka_topic_prefix), in_kafka.partition

    def _wake(self) -> None:
        read, self._new_events = self._new_events, asyncio.Event()
        if self._stopping.is_set():
            self._new_events.set()
        read.set()
