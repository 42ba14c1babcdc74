"""Reads `exchange-health`, so that a ban survives a restart and a change of the lane's owner.

It uses no consumer group. Every collector reads the whole compacted topic at its start (one message per lane) and
then continues to read new messages.
"""

import asyncio
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from contracts.exchanges import ExchangeHealthChanged
from contracts.topics import EXCHANGE_HEALTH
from runtime.kafka.client_lifecycle import close_consumer, start_consumer
from runtime.kafka.clients import build_consumer, topic_name
from runtime.kafka.codec import UnreadableMessage, decode
from runtime.lifecycle.background import Background
from runtime.logs import log
from runtime.settings import KafkaSettings
from runtime.waiting import wait_for_event

_POLL_MS: Final = 500
_KAFKA_TIMEOUT_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 2.0
_FIRST_READ_TIMEOUT_SECONDS: Final = 15.0


class ExchangeHealthReader:
    """Holds the latest event per lane. After an outage of Kafka it reads the topic again."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._latest: dict[str, ExchangeHealthChanged] = {}
        self._is_read, self._stopping = asyncio.Event(), asyncio.Event()

    def background(self) -> Background:
        return Background("exchange health reader", self.run, self._stop)

    def published(self, exchange: str) -> list[ExchangeHealthChanged]:
        """The latest event of each lane of this exchange."""
        return [event for event in self._latest.values() if event.exchange == exchange]

    async def wait_until_read(self) -> None:
        """Return when all messages that existed at the start have been read, or after 15 seconds."""
        if self._is_read.is_set():
            return
        try:
            async with asyncio.timeout(_FIRST_READ_TIMEOUT_SECONDS):
                await self._is_read.wait()
        except TimeoutError:
            if not self._is_read.is_set():
                log.warning(
                    "Exchange states could not be read from Kafka: runs start without them, and bans from before the "
                    "start are unknown until the topic is read. Check the connection to Kafka",
                    action="exchange_health_not_read",
                )
            self._is_read.set()

    async def run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._read_topic()
            except (KafkaError, OSError) as error:
                log.warning(
                    "Reading exchange health from Kafka failed and will be retried",
                    action="exchange_health_waiting",
                    error=repr(error),
                )
                await wait_for_event(self._stopping, _RETRY_SECONDS)

    async def _read_topic(self) -> None:
        build = lambda: build_consumer(  # noqa: E731
            self._settings, group="exchange-health", client_id="collector-exchange-health", group_id=None
        )
        consumer = await start_consumer(build, self._stopping, group="exchange-health")
        if consumer is None:
            return
        try:
            name = topic_name(self._settings, EXCHANGE_HEALTH)
            partitions = [TopicPartition(name, number) for number in range(EXCHANGE_HEALTH.partitions)]
            consumer.assign(partitions)
            async with asyncio.timeout(_KAFKA_TIMEOUT_SECONDS):
                ends = await consumer.end_offsets(partitions)
                await consumer.seek_to_beginning(*partitions)
            while not self._stopping.is_set():
                await self._poll(consumer, ends)
        finally:
            await close_consumer(consumer)

    async def _poll(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> None:
        if not self._is_read.is_set():
            async with asyncio.timeout(_KAFKA_TIMEOUT_SECONDS):
                unread = [each for each, end in ends.items() if await consumer.position(each) < end]
            if not unread:
                self._is_read.set()
        for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
            for record in records:
                self._store(record)

    def _store(self, record: ConsumerRecord) -> None:
        try:
            event = decode(EXCHANGE_HEALTH, record.value)
        except UnreadableMessage as unreadable:
            log.warning(
                "Skipped an unreadable message about an exchange's health",
                action="exchange_health_unreadable",
                partition=record.partition,
                offset=record.offset,
                error=unreadable.reason,
            )
            return
        if isinstance(event, ExchangeHealthChanged):
            self._latest[event.key()] = event

    async def _stop(self) -> None:
        self._stopping.set()
