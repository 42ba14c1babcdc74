"""Reads the live topics: every partition, without a group, from a few minutes ago on, for as long as the API lives."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from admin_api.events.buffer import EventBuffer
from admin_api.events.positions import Positions
from admin_api.events.topics import LIVE_TOPICS, PLACES, TOPICS, Place, streamed_event
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
"""A listener that was away for as long as this finds all that it missed, at any instance."""

_POLL_MS: Final = 1000
_PAUSE_SECONDS: Final = 2.0
_REMIND_SECONDS: Final = 30.0
_ASK_SECONDS: Final = 30.0
_TROUBLE: Final = (KafkaError, TopicsNotReady, OSError)


class EventFeed:
    """`run` until `stop`. Survives every outage of Kafka; listeners wait meanwhile."""

    def __init__(
        self, settings: KafkaSettings, metrics: Metrics, buffer: EventBuffer, wall: Callable[[], float] = time.time
    ) -> None:
        self._settings, self._metrics, self._wall = settings, metrics, wall
        self.buffer = buffer
        self._consumer: AIOKafkaConsumer | None = None
        self._stopping = asyncio.Event()
        self._news = asyncio.Event()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def background(self) -> Background:
        return Background("live feed", self.run, self.stop)

    async def stop(self) -> None:
        """Also ends every stream, or the server would wait for them."""
        self._stopping.set()
        self._wake()

    async def news(self, within: float) -> bool:
        """Wait until more was read, or the feed stops; False after so many seconds without."""
        news = self._news
        return await wait_for_event(news, within)

    async def run(self) -> None:
        reminded_at = float("-inf")
        while not self._stopping.is_set():
            try:
                await self._follow()
            except _TROUBLE as error:
                if time.monotonic() - reminded_at >= _REMIND_SECONDS:
                    reminded_at = time.monotonic()
                    log.warning(
                        "Live events wait for Kafka", action="event_feed_retry", error=str(error) or repr(error)
                    )
                await wait_for_event(self._stopping, _PAUSE_SECONDS)

    async def _follow(self) -> None:
        build = lambda: build_consumer(self._settings, group="live", client_id="admin-api-live", group_id=None)  # noqa: E731
        consumer = await start_consumer(build, self._stopping, group="live")
        if consumer is None:
            return
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                await verify(self._settings, LIVE_TOPICS)
                await self._take_places(consumer)
            self._consumer = consumer
            while not self._stopping.is_set():
                batches = await consumer.getmany(timeout_ms=_POLL_MS)
                if again := self._begun_again(batches):
                    self._begin_again(again)
                    return  # start again: the other partitions of the topic are compared with Kafka's offsets
                self._read(batches)
        finally:
            self._consumer = None
            await close_consumer(consumer)

    async def reach(self, positions: Positions) -> bool | None:
        """Whether Kafka's partitions reach as far as these positions. None while Kafka does not answer."""
        if self._consumer is None:
            return None
        partitions = {place: self._partition(place) for place in positions}
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                ends = await self._consumer.end_offsets(list(partitions.values()))
        except _TROUBLE:
            return None
        return all(offset <= ends[partitions[place]] for place, offset in positions.items())

    async def _take_places(self, consumer: AIOKafkaConsumer) -> None:
        """Go on where we were, or begin a few minutes ago; the word on every exchange is read from its beginning.

        If Kafka does not have our positions any more, every listener is told that it missed something.
        """
        partitions = {place: self._partition(place) for place in PLACES}
        consumer.assign(list(partitions.values()))
        if not self.buffer.has_begun:
            self.buffer.begin(await self._starts(consumer, partitions))
        elif lost := await self._lost(consumer, partitions):
            self._begin_again(lost)
        for place, offset in self.buffer.positions.items():
            consumer.seek(partitions[place], offset)
        self._wake()

    async def _starts(self, consumer: AIOKafkaConsumer, partitions: dict[Place, TopicPartition]) -> Positions:
        since = int((self._wall() - REPLAY_SECONDS) * 1000)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions.values(), since))
        ends = await consumer.end_offsets(list(partitions.values()))
        firsts = await consumer.beginning_offsets(list(partitions.values()))
        starts: Positions = {}
        for place, partition in partitions.items():
            if place[0] == EXCHANGE_HEALTH.name:
                starts[place] = firsts[partition]
            else:
                starts[place] = found[partition].offset if found[partition] is not None else ends[partition]
        return starts

    async def _lost(self, consumer: AIOKafkaConsumer, partitions: dict[Place, TopicPartition]) -> Positions:
        """For each place whose position Kafka does not have: where to go on. Kafka's offsets of a topic that was
        created again begin at 0.
        """
        firsts = await consumer.beginning_offsets(list(partitions.values()))
        ends = await consumer.end_offsets(list(partitions.values()))
        positions = self.buffer.positions
        return {
            place: firsts[partition]
            for place, partition in partitions.items()
            if not firsts[partition] <= positions[place] <= ends[partition]
        }

    def _begun_again(self, batches: dict[TopicPartition, list[Any]]) -> Positions:
        """The places whose messages begin before the position up to which they were read, and where they begin."""
        positions = self.buffer.positions
        starts = {self._place(partition): records[0].offset for partition, records in batches.items()}
        return {place: offset for place, offset in starts.items() if offset < positions[place]}

    def _begin_again(self, lost: Positions) -> None:
        log.warning(
            "Kafka does not have the positions of live events any more: a topic was created again, or retention "
            "deleted events that were not read. Listeners are told to read the state again",
            action="live_positions_lost",
            topics=sorted({topic for topic, _ in lost}),
        )
        self.buffer.begin(self.buffer.positions | lost)

    def _read(self, batches: dict[TopicPartition, list[Any]]) -> None:
        for partition, records in batches.items():
            place = self._place(partition)
            for record in records:
                self._take(place, record)
        if batches:
            self._wake()

    def _take(self, place: Place, record: Any) -> None:
        try:
            event = decode(TOPICS[place[0]], record.value)
        except UnreadableMessage:  # a tombstone, or what the services that act on it put aside
            self.buffer.advance(place, record.offset)
            return
        self.buffer.add(streamed_event(event, record.value.decode(), place, record.offset, record.timestamp))
        self._metrics.event_stream_events.labels(place[0]).inc()

    def _partition(self, place: Place) -> TopicPartition:
        return TopicPartition(topic_name(self._settings, TOPICS[place[0]]), place[1])

    def _place(self, partition: TopicPartition) -> Place:
        return partition.topic.removeprefix(self._settings.kafka_topic_prefix), partition.partition

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        if self._stopping.is_set():
            self._news.set()
        news.set()
