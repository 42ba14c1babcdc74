"""Publishes events to Kafka. An event counts as published when all in-sync replicas have acknowledged it."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiokafka.errors import KafkaError, ProducerClosed
from faststream.kafka import KafkaBroker

from contracts.event import Event
from contracts.topics import Topic
from runtime.kafka.aiokafka_internals import producer_of, renew_producer_id
from runtime.kafka.clients import topic_name
from runtime.kafka.codec import encode
from runtime.logs import log
from runtime.metrics import PublisherMetrics
from runtime.settings import KafkaSettings
from runtime.tracing.spans import sending


class PublishFailed(Exception):  # noqa: N818 -- the name states the problem
    """Kafka did not acknowledge the message. After a timeout it may still arrive later, so consumers must tolerate
    duplicates.
    """


@dataclass(frozen=True)
class _Message:
    key: str
    value: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)
    run_id: UUID | None = None


class EventPublisher:
    """Publishes through the aiokafka producer of a FastStream broker. The broker's own `publish` would take as much
    processor time again.

    Each call has a time limit, because an idempotent producer retries without limit. `publish_batch` is never used:
    it ignores the keys and sends a whole batch to one random partition.
    """

    def __init__(
        self, broker: KafkaBroker, settings: KafkaSettings, source: str, metrics: PublisherMetrics | None = None
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._source = source
        self._metrics = metrics
        self._problem: str | None = None

    async def publish(self, topic: Topic, event: Event) -> None:
        """Publish under the event's own key. Raises `PublishFailed`."""
        await self._send(topic, [self._message(event)])

    async def publish_many(self, topic: Topic, events: Iterable[Event]) -> None:
        """Publish in order, without a round trip per event. When this returns, Kafka has acknowledged all events. If it
        raises `PublishFailed`, any of them may have arrived.
        """
        await self._send(topic, [self._message(event) for event in events])

    async def tombstone(self, topic: Topic, key: str) -> None:
        """Publish a null value, so that compaction deletes the key. Raises `PublishFailed`."""
        await self.tombstones(topic, [key])

    async def tombstones(self, topic: Topic, keys: Iterable[str]) -> None:
        """Publish a null value for each key, without a round trip per key. Raises as `publish_many` does."""
        await self._send(topic, [_Message(key, None) for key in keys])

    async def publish_raw(self, topic: Topic, *, key: str, value: bytes | None, headers: Mapping[str, str]) -> None:
        """Publish bytes as they are. Raises `PublishFailed`."""
        await self._send(topic, [_Message(key, value, headers)])

    def readiness(self) -> str | None:
        """The problem of the last publication; None if it was acknowledged."""
        return self._problem

    def _message(self, event: Event) -> _Message:
        value, headers = encode(event, self._source)
        return _Message(event.key(), value, headers, getattr(event, "run_id", None))

    async def _send(self, topic: Topic, messages: list[_Message]) -> None:
        if not messages:
            return  # this result says nothing about the state of Kafka, so readiness does not change
        try:
            with sending(topic.name, (each.run_id for each in messages)) as trace_headers:
                async with asyncio.timeout(self._settings.kafka_publish_timeout_seconds):
                    await self._send_all(topic_name(self._settings, topic), messages, trace_headers)
        except (KafkaError, OSError, TimeoutError) as error:
            reason = "no acknowledgement in time" if isinstance(error, TimeoutError) else repr(error)
            self._problem = f"{topic.name}: {reason}"
            if self._metrics is not None:
                self._metrics.failures.labels(topic.name).inc(len(messages))
            raise PublishFailed(f"{topic.name}: {reason}") from error
        self._problem = None

    async def _send_all(
        self, name: str, messages: list[_Message], trace_headers: Mapping[UUID | None, Mapping[str, str]]
    ) -> None:
        producer = producer_of(self._broker)
        if producer is None:
            raise ProducerClosed("the broker is not started")
        acknowledged = _Acknowledgements()
        for message in messages:
            headers = _headers(message, trace_headers.get(message.run_id, {}))
            acknowledged.expect(await producer.send(name, message.value, key=message.key.encode(), headers=headers))
        try:
            await acknowledged.all()
        except KafkaError as error:
            self._renew_producer_id(name, error)
            raise

    def _renew_producer_id(self, name: str, error: KafkaError) -> None:
        """After a refused message, Kafka would refuse all later messages of this producer id in the partition."""
        producer = producer_of(self._broker)
        if producer is not None:
            log.warning("Kafka refused a message", action="publication_refused", topic=name, error=repr(error))
            renew_producer_id(producer)


def _headers(message: _Message, trace_headers: Mapping[str, str]) -> list[tuple[str, bytes]]:
    """The headers as aiokafka takes them."""
    return [(name, text.encode()) for name, text in {**message.headers, **trace_headers}.items()]


class _Acknowledgements:
    """The pending acknowledgements. All share one future, because a separate wait for each message would cost more than
    sending it.

    `asyncio.gather` does not fit: after a timeout it would cancel messages that the producer still sends. The outcome
    of each message is retrieved, even after a timeout. Otherwise asyncio would log it at exit.
    """

    def __init__(self) -> None:
        self._pending = 0
        self._problem: BaseException | None = None
        self._none_pending: asyncio.Future[None] | None = None

    def expect(self, acknowledgement: asyncio.Future[Any]) -> None:
        self._pending += 1
        acknowledgement.add_done_callback(self._on_outcome)

    async def all(self) -> None:
        """Return when all acknowledgements have arrived. Then, if any message failed, raises the first error."""
        if self._pending:
            self._none_pending = asyncio.get_running_loop().create_future()
            await self._none_pending
        if self._problem is not None:
            raise self._problem

    def _on_outcome(self, acknowledgement: asyncio.Future[Any]) -> None:
        problem = asyncio.CancelledError() if acknowledgement.cancelled() else acknowledgement.exception()
        self._problem = self._problem or problem
        self._pending -= 1
        if not self._pending and self._none_pending is not None and not self._none_pending.done():
            self._none_pending.set_result(None)
