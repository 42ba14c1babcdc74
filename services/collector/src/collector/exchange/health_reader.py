"""Reads `exchange-health`, so that a ban survives a restart and a change of the lane's owner.

Without a group: every collector reads the whole compacted topic at its start (one message per exchange) and follows it.
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
_ASK_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 2.0
_WAIT_SECONDS: Final = 15.0


class ExchangeHealthReader:
    """Holds the latest event per exchange. `run` until `stop`; survives every outage of Kafka."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._latest: dict[str, ExchangeHealthChanged] = {}
        self._read, self._stopping = asyncio.Event(), asyncio.Event()

    def background(self) -> Background:
        return Background("exchange health reader", self.run, self._stop)

    def latest(self, exchange: str) -> ExchangeHealthChanged | None:
        return self._latest.get(exchange)

    async def wait_until_read(self) -> None:
        """Return when everything was read that the topic held at the start, or after some seconds without success."""
        if self._read.is_set():
            return
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._read.wait()
        except TimeoutError:
            if not self._read.is_set():
                log.warning(
                    "The state of exchanges could not be read from Kafka: runs start without it, and a ban that was "
                    "seen before the start is not known",
                    action="exchange_health_not_read",
                )
            self._read.set()

    async def run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._follow()
            except (KafkaError, OSError) as error:
                log.warning("Exchange health is read again", action="exchange_health_waiting", error=repr(error))
                await wait_for_event(self._stopping, _PAUSE_SECONDS)

    async def _follow(self) -> None:
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
            async with asyncio.timeout(_ASK_SECONDS):
                ends = await consumer.end_offsets(partitions)
                await consumer.seek_to_beginning(*partitions)
            while not self._stopping.is_set():
                await self._poll(consumer, ends)
        finally:
            await close_consumer(consumer)

    async def _poll(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> None:
        if not self._read.is_set():
            async with asyncio.timeout(_ASK_SECONDS):
                behind = [each for each, end in ends.items() if await consumer.position(each) < end]
            if not behind:
                self._read.set()
        for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
            for record in records:
                self._take(record)

    def _take(self, record: ConsumerRecord) -> None:
        try:
            event = decode(EXCHANGE_HEALTH, record.value)
        except UnreadableMessage as unreadable:
            log.warning(
                "A message about an exchange's health cannot be read and is left out",
                action="exchange_health_unreadable",
                partition=record.partition,
                offset=record.offset,
                error=unreadable.reason,
            )
            return
        if isinstance(event, ExchangeHealthChanged):
            self._latest[event.exchange] = event

    async def _stop(self) -> None:
        self._stopping.set()
