"""Commits, retries and dead letters for a FastStream batch subscriber.

The subscription itself is declared in a service's `handlers.py`: topics, group, batch size, `AckPolicy.MANUAL` and a
typed handler. `BatchSubscription` is the part that FastStream does not have:

    router = batches.build_router(registry)

    @router.subscriber(topic, group_id=..., batch=True, ack_policy=AckPolicy.MANUAL, **batches.options)
    async def store(events: list[CandlesCollected]) -> None: ...

Delivery: **at least once**. Offsets are committed explicitly, per partition, after the handler has returned, and never
during a rebalance. FastStream's own acknowledgements commit the position of every partition at any moment. With an
idempotent handler, each message has its effect once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError
from faststream import BaseMiddleware
from faststream.kafka import KafkaBroker, KafkaMessage, KafkaRouter
from faststream.kafka.message import KafkaAckableMessage
from faststream.kafka.prometheus import KafkaPrometheusMiddleware
from faststream.kafka.subscriber.usecase import BatchSubscriber
from prometheus_client import CollectorRegistry
from typing_extensions import override

from contracts.topics import Topic
from runtime.consumers.batch_writer import Batch, BatchItem, BatchWriter, StoppedWriting
from runtime.consumers.commits import RebalanceSafeCommits
from runtime.consumers.monitor import POLL_LIMIT_SECONDS, ConsumerMonitor
from runtime.consumers.retention_check import RetentionCheck
from runtime.dead_letters import DeadLetters
from runtime.kafka.aiokafka_internals import NOTHING, idle_seconds
from runtime.kafka.asyncapi import subscription_title, topics_description
from runtime.kafka.clients import ConsumerOptions, consumer_options, group_name, topic_name
from runtime.kafka.codec import Tombstone, UnreadableMessage, decode
from runtime.lifecycle.background import Background
from runtime.logs import log
from runtime.metrics import ConsumerMetrics
from runtime.settings import KafkaSettings
from runtime.waiting import wait_for_event

__all__ = ["BatchSubscription", "Tombstone"]

_POLL_MILLISECONDS = 50
"""How long FastStream waits for messages, and how long it sleeps afterwards. A message that arrives during the sleep
waits for its end. A shorter time costs processor time while no messages arrive.
"""

_WAIT_ON_REVOKE_SECONDS = 3.0
_LAG_SECONDS = 1.0

CallNext = Callable[[Any], Awaitable[Any]]


class SubscriberOptions(ConsumerOptions):
    """Arguments of FastStream's `subscriber`."""

    batch_timeout_ms: int
    listener: object  # aiokafka's class is Any, which would hide the type of FastStream's subscriber
    title: str
    description: str


class BatchSubscription(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Decodes, hands over and commits the batches of one group. Declare the subscriber with `build_router` and
    `options`, and give `background()` to the worker.

    The handler gets events and tombstones, in order per partition. It must be atomic and idempotent: it may get the
    same events again, for example in parts of a failed batch. If `is_transient` recognises an error, the batch is
    retried indefinitely with growing pauses, and the process is not ready. For any other error the batch is split to
    find the messages that cannot be stored. These become dead letters; the rest is stored.
    """

    def __init__(
        self,
        broker: KafkaBroker,
        settings: KafkaSettings,
        topics: Sequence[Topic],
        *,
        group: str,
        dead_letters: DeadLetters,
        metrics: ConsumerMetrics,
        is_transient: Callable[[Exception], bool],
    ) -> None:
        self._broker, self._settings, self.group, self._dead_letters = broker, settings, group, dead_letters
        self._topics = {topic_name(settings, topic): topic for topic in topics}
        self._writer = BatchWriter(dead_letters, is_transient, metrics.retries.labels(group).inc)
        self._metrics, self._monitor = metrics, ConsumerMonitor(group, metrics)
        self._retention = RetentionCheck(group, metrics)
        self._commits = RebalanceSafeCommits()
        self._generation = 0
        self._written: dict[TopicPartition, tuple[int, str]] = {}
        self._idle = asyncio.Event()  # set while no batch is in progress
        self._idle.set()
        self._stopping = asyncio.Event()
        self._failure: Exception | None = None
        self._abandoned = False  # a batch was not written, so no later offset may be committed

    # -- for FastStream ----------------------------------------------------------------------------------------------

    def build_router(self, registry: CollectorRegistry) -> KafkaRouter:
        """A router for the only subscriber of this group, with FastStream's metrics. Pass `options` to the subscriber,
        and include the router in the broker.
        """
        metrics = KafkaPrometheusMiddleware(registry=registry, app_name=self.group)
        # our middleware is last, because it may call the handler several times
        middlewares = [metrics, partial(_BatchMiddleware, self)]
        return KafkaRouter(parser=self._parse, decoder=_decode, middlewares=middlewares)

    @property
    def options(self) -> SubscriberOptions:
        """The arguments for `subscriber(...)`: the options that all consumers share, this listener, and texts for
        AsyncAPI.
        """
        return {
            **consumer_options(self._settings),
            "batch_timeout_ms": _POLL_MILLISECONDS,
            "listener": self,
            "title": subscription_title(self.group, list(self._topics)),
            "description": topics_description(self._topics.values()),
        }

    @property
    def consumer(self) -> AIOKafkaConsumer | None:
        """Aiokafka's consumer of the group's subscriber; None while the broker is not started."""
        group_id = group_name(self._settings, self.group)
        subscribers = (each for each in self._broker.subscribers if isinstance(each, BatchSubscriber))
        return next((each.consumer for each in subscribers if each.group_id == group_id), None)

    # -- for the worker ----------------------------------------------------------------------------------------------

    def background(self) -> Background:
        """The task for the worker. It reports the lag, raises the error that FastStream's loop would hide, and ends
        retries at a stop.
        """
        return Background(f"batches of {self.group}", self.run, self.stop, self.liveness, self.readiness)

    async def run(self) -> None:
        """Watch the subscription until it is stopped. The broker does the polling. Raises the error that ended the
        handling.
        """
        while not self._stopping.is_set():
            await self._commit()  # offsets that could not be committed right after the batch
            if (consumer := self.consumer) is not None:
                await self._retention.on_turn(consumer)
            self._monitor.report_lag()
            await wait_for_event(self._stopping, _LAG_SECONDS)
        await self._idle.wait()
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """End retries.

        If the store does not accept a batch now, the batch is abandoned, and the next owner reads it again.
        """
        self._stopping.set()
        self._writer.stop()

    def liveness(self) -> str | None:
        """A batch in progress may take any time, because the database may be down.

        While no batch is in progress, the loop must poll.
        """
        if (problem := self._monitor.liveness()) is not None:
            return problem
        consumer = self.consumer
        if consumer is None or not self._idle.is_set() or self._stopping.is_set():
            return None
        idle = idle_seconds(consumer)
        return f"has not polled for {idle:.0f} s" if idle > POLL_LIMIT_SECONDS else None

    def readiness(self) -> str | None:
        return self._writer.problem or self._monitor.readiness()

    # -- group membership: called by aiokafka's coordinator, which sends heartbeats meanwhile ------------------------

    @override
    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Before JoinGroup is sent: give the batch in progress a short time to finish, and commit it."""
        self._commits.close()
        self._monitor.revoked()
        try:
            async with asyncio.timeout(_WAIT_ON_REVOKE_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            log.warning("A batch did not end in time for the rebalance: it will be read again", action="batch_outlasts")
        if (consumer := self.consumer) is not None and revoked and self._dead_letters.may_commit:
            await self._commits.commit(consumer, self._written, leaving=True)
        self._generation += 1
        self._written.clear()

    @override
    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        if (consumer := self.consumer) is not None:
            self._monitor.attach(consumer)
            await self._retention.on_assigned(consumer, await self._commits.stored(consumer, assigned) or {})
        self._monitor.assigned()
        self._commits.open()
        log.info("Partitions assigned", action="assigned", group=self.group, partitions=len(assigned))

    # -- batches -----------------------------------------------------------------------------------------------------

    async def _parse(self, records: tuple[ConsumerRecord, ...]) -> KafkaMessage:
        """A FastStream message without headers, because FastStream would drop the whole batch if one header were null
        or not UTF-8.

        The body is for FastStream's metrics; `consume` replaces it.
        """
        return KafkaAckableMessage(
            raw_message=records,
            body=[record.value or b"" for record in records],
            consumer=self.consumer,
            message_id=f"{records[0].offset}-{records[-1].offset}",
        )

    async def consume(self, call_next: CallNext, message: KafkaMessage) -> None:
        """Handle one batch. The middleware calls this. If it raises, neither the batch nor any later one is committed.

        FastStream hides the error and continues to poll. So the error is stored here, and `run` raises it.
        """
        if self._abandoned:
            raise StoppedWriting
        self._idle.clear()
        generation, records = self._generation, message.raw_message
        try:
            await self._write(records, partial(_call_handler, call_next, message))
            if generation == self._generation:
                self._written |= _next_offsets(records)
                await self._commit()
        except StoppedWriting:
            self._abandoned = True
            log.info(
                "Stopped before a batch was written: it will be read again",
                action="batch_abandoned",
                messages=len(records),
            )
            raise
        except Exception as error:
            self._abandoned = True
            self._failure = error
            self._stopping.set()
            raise
        finally:
            self._idle.set()

    async def _write(
        self, records: Sequence[ConsumerRecord], handler: Callable[[list[BatchItem]], Awaitable[None]]
    ) -> None:
        readable = await self._read(records)
        self._metrics.batch_size.labels(self.group).observe(len(records))
        await self._writer.write(readable, handler, self._keep_membership)

    async def _read(self, records: Sequence[ConsumerRecord]) -> Batch:
        """The readable messages. The others become dead letters. These are sent together, because waiting for each
        acknowledgement would take long.
        """
        readable: list[tuple[BatchItem, ConsumerRecord]] = []
        letters = []
        try:
            for record in records:
                topic = self._topics[record.topic]
                try:
                    item = _item(topic, record)
                except UnreadableMessage as unreadable:
                    letters.append(self._dead_letters.send_unreadable(record, unreadable.reason))
                else:
                    self._dead_letters.readable(record)
                    readable.append((item, record))
        finally:
            await asyncio.gather(*letters)
        return readable

    async def _keep_membership(self) -> None:
        """Report a poll while a batch is retried. After `max_poll_interval_ms` without a poll the process would leave
        the group, which would not help: the other members have the same outage.
        """
        if (consumer := self.consumer) is not None:
            try:
                await consumer.getmany(NOTHING, timeout_ms=0)
            except (KafkaError, ConsumerStoppedError) as error:
                log.warning("The group reports an error", action="poll_failed", error=repr(error))

    async def _commit(self) -> None:
        if (consumer := self.consumer) is not None and self._dead_letters.may_commit:
            await self._commits.commit(consumer, self._written)


class _BatchMiddleware(BaseMiddleware[Any, Any]):
    def __init__(self, subscription: BatchSubscription, /, msg: Any, *, context: Any) -> None:
        super().__init__(msg, context=context)
        self._subscription = subscription

    @override
    async def consume_scope(self, call_next: CallNext, msg: Any) -> None:
        await self._subscription.consume(call_next, msg)


async def _call_handler(call_next: CallNext, message: KafkaMessage, items: list[BatchItem]) -> None:
    part = copy(message)
    part.body = items
    await call_next(part)


async def _decode(message: KafkaMessage) -> Any:
    """The events of a part of a batch, which `consume` has decoded one by one."""
    return message.body


def _item(topic: Topic, record: ConsumerRecord) -> BatchItem:
    if record.value is None and topic.tombstones:
        return Tombstone(topic, (record.key or b"").decode(errors="replace"))
    return decode(topic, record.value)


def _next_offsets(records: Sequence[ConsumerRecord]) -> dict[TopicPartition, tuple[int, str]]:
    """The offsets to commit after these records are written.

    The records of a partition are in order, so the offset of the last record is used.
    """
    return {TopicPartition(each.topic, each.partition): (each.offset + 1, "") for each in records}
