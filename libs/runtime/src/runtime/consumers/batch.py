"""Batches of events into a store, with FastStream's batch subscriber and commits of our own.

Delivery: **at least once** (`AckPolicy.MANUAL`). Offsets are committed explicitly, per partition, after the handler
has returned and only while no rebalance is in flight; FastStream's own acknowledgements commit every partition's
position at any moment. With an idempotent handler the effect is once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import FAKE_CONSUMER
from typing_extensions import override

from contracts.topics import Topic
from runtime.consumers.batch_writer import BatchWriter, Handler, Received, StoppedWriting
from runtime.consumers.commits import RebalanceSafeCommits
from runtime.consumers.monitor import POLL_LIMIT_SECONDS, ConsumerMonitor
from runtime.consumers.retention_check import RetentionCheck
from runtime.dead_letters import DeadLetters
from runtime.kafka.aiokafka_internals import NOTHING, idle_seconds
from runtime.kafka.clients import consumer_options, group_name, topic_name
from runtime.kafka.codec import UnreadableMessage, decode, event_union
from runtime.lifecycle.background import Background
from runtime.logs import log
from runtime.metrics import ConsumerMetrics
from runtime.settings import KafkaSettings
from runtime.waiting import wait_for_event

__all__ = ["BatchSubscription", "Received", "subscribe_batch"]

_IDLE_MILLISECONDS = 10
"""FastStream waits as long for messages and then sleeps as long again: short, or events lie around meanwhile."""

_WAIT_ON_REVOKE_SECONDS = 3.0
_LAG_SECONDS = 1.0


def subscribe_batch(  # noqa: PLR0913 -- what a subscription is; all but three by name
    broker: KafkaBroker,
    settings: KafkaSettings,
    topics: Topic | Sequence[Topic],
    *,
    group: str,
    handler: Handler,
    dead_letters: DeadLetters,
    metrics: ConsumerMetrics,
    is_transient: Callable[[Exception], bool],
    max_records: int = 1000,
) -> "BatchSubscription":
    """Hand the topics' events to `handler` in batches; give the result's `background()` to the worker.

    `handler` gets readable events and tombstones, in order per partition, and must be atomic and idempotent: it may
    get the same ones again, and parts of a batch that it failed. What `is_transient` recognises is tried again for
    ever with growing pauses, with readiness red; any other failure splits the batch to find the poisonous messages,
    which become dead letters while the rest is written.
    """
    declared = (topics,) if isinstance(topics, Topic) else tuple(topics)
    subscription = BatchSubscription(
        {topic_name(settings, topic): topic for topic in declared},
        group=group,
        dead_letters=dead_letters,
        writer=BatchWriter(handler, dead_letters, is_transient, metrics.retries.labels(group).inc),
        metrics=metrics,
    )
    options = {key: value for key, value in consumer_options(settings).items() if key != "auto_offset_reset"}
    subscriber = broker.subscriber(
        *(topic_name(settings, topic) for topic in declared),
        batch=True,
        max_records=max_records,
        batch_timeout_ms=_IDLE_MILLISECONDS,
        group_id=group_name(settings, group),
        ack_policy=AckPolicy.MANUAL,
        auto_offset_reset="earliest",
        listener=subscription,
        parser=_parse,
        decoder=_leave_undecoded,
        title=group,
        description=f"At least once, in batches, by {group}.",
        **options,
    )
    subscriber(_documented(subscription.consume, declared))
    subscription.consumer_of = lambda: subscriber.consumer
    return subscription


class BatchSubscription(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """One group's batches on their way through decoding, handling and committing. Made by `subscribe_batch`."""

    def __init__(
        self,
        topics: dict[str, Topic],
        *,
        group: str,
        dead_letters: DeadLetters,
        writer: BatchWriter,
        metrics: ConsumerMetrics,
    ) -> None:
        self.consumer_of: Callable[[], AIOKafkaConsumer | None] = lambda: None
        self._topics, self._group, self._dead_letters, self._writer = topics, group, dead_letters, writer
        self._metrics, self._monitor = metrics, ConsumerMonitor(group, metrics)
        self._retention = RetentionCheck(group, metrics)
        self._commits = RebalanceSafeCommits()
        self._generation = 0
        self._written: dict[TopicPartition, tuple[int, str]] = {}
        self._idle = asyncio.Event()  # no batch in hand
        self._idle.set()
        self._stopping = asyncio.Event()
        self._failure: Exception | None = None
        self._abandoned = False  # a batch was left unwritten, so nothing behind it may be committed

    # -- for the worker ----------------------------------------------------------------------------------------------

    def background(self) -> Background:
        """For the worker: reports lag, notices what FastStream's loop would swallow, and ends retries at stop."""
        return Background(f"batches of {self._group}", self.run, self.stop, self.liveness, self.readiness)

    async def run(self) -> None:
        """Watch the subscription until stopped; the broker does the consuming. Raises what broke it."""
        while not self._stopping.is_set():
            await self._commit()  # what could not be committed at once
            if (consumer := self.consumer_of()) is not None:
                await self._retention.on_turn(consumer)
            self._monitor.report_lag()
            await wait_for_event(self._stopping, _LAG_SECONDS)
        await self._idle.wait()
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """End retries: a batch that the store does not take now is left, and read again by the next owner."""
        self._stopping.set()
        self._writer.stop()

    def liveness(self) -> str | None:
        """A batch in hand may take its time (the database may be away), a loop without one may not."""
        if (problem := self._monitor.liveness()) is not None:
            return problem
        consumer = self.consumer_of()
        if consumer is None or not self._idle.is_set() or self._stopping.is_set():
            return None
        idle = idle_seconds(consumer)
        return f"has not polled for {idle:.0f} s" if idle > POLL_LIMIT_SECONDS else None

    def readiness(self) -> str | None:
        return self._writer.problem or self._monitor.readiness()

    # -- group membership: called by aiokafka's coordinator, heartbeats go on meanwhile ------------------------------

    @override
    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Before JoinGroup is sent: let the batch in hand finish if it is quick, and commit it."""
        self._commits.close()
        self._monitor.revoked()
        try:
            async with asyncio.timeout(_WAIT_ON_REVOKE_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            log.warning("A batch outlasts a rebalance, it will be read again", action="batch_outlasts")
        if (consumer := self.consumer_of()) is not None and revoked and self._dead_letters.may_commit:
            await self._commits.commit(consumer, self._written, leaving=True)
        self._generation += 1
        self._written.clear()

    @override
    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        if (consumer := self.consumer_of()) is not None:
            self._monitor.attach(consumer)
            await self._retention.on_assigned(consumer, await self._commits.stored(consumer, assigned) or {})
        self._monitor.assigned()
        self._commits.open()
        log.info("Partitions assigned", action="assigned", group=self._group, partitions=len(assigned))

    # -- batches -----------------------------------------------------------------------------------------------------

    async def consume(self, message: KafkaMessage) -> None:
        """FastStream's handler: one batch. Whatever fails here was not committed."""
        if self._abandoned:
            return
        self._idle.clear()
        generation, records = self._generation, message.raw_message
        try:
            await self._write(records)
            if generation == self._generation:
                self._written |= _next_offsets(records)
                await self._commit()
        except StoppedWriting:
            self._abandoned = True
            log.info("Stopped amid a batch, it will be read again", action="batch_abandoned", messages=len(records))
        except Exception as error:  # noqa: BLE001 -- FastStream would swallow it and read on, past what was not written
            self._abandoned = True
            self._failure = error
            self._stopping.set()
        finally:
            self._idle.set()

    async def _write(self, records: Sequence[ConsumerRecord]) -> None:
        readable = await self._read(records)
        self._metrics.batch_size.labels(self._group).observe(len(records))
        self._metrics.in_flight.labels(self._group).set(len(records))
        await self._writer.write(readable, self._keep_membership)
        self._metrics.in_flight.labels(self._group).set(0)

    async def _read(self, records: Sequence[ConsumerRecord]) -> list[tuple[Received, ConsumerRecord]]:
        """What can be read. The rest is put aside, all of it together: one acknowledgement each would take long."""
        readable: list[tuple[Received, ConsumerRecord]] = []
        letters = []
        try:
            for record in records:
                topic = self._topics[record.topic]
                try:
                    tombstone = record.value is None and topic.tombstones
                    event = None if tombstone else decode(topic, record.value)
                except UnreadableMessage as unreadable:
                    letters.append(self._dead_letters.send_unreadable(record, unreadable.reason))
                else:
                    self._dead_letters.readable(record)
                    key = (record.key or b"").decode(errors="replace")
                    readable.append((Received(event, key, topic, record.partition, record.offset), record))
        finally:
            await asyncio.gather(*letters)
        return readable

    async def _keep_membership(self) -> None:
        """Count as polling while a batch is retried: after `max_poll_interval_ms` without a poll we would be put out
        of the group, for a database outage that every other member suffers as well.
        """
        consumer = self.consumer_of()
        if consumer is not None:
            try:
                await consumer.getmany(NOTHING, timeout_ms=0)
            except (KafkaError, ConsumerStoppedError) as error:
                log.warning("The group reports an error", action="poll_failed", error=repr(error))

    async def _commit(self) -> None:
        if (consumer := self.consumer_of()) is not None and self._dead_letters.may_commit:
            await self._commits.commit(consumer, self._written)


def _next_offsets(records: Sequence[ConsumerRecord]) -> dict[TopicPartition, tuple[int, str]]:
    """What to commit once these are written. Records of a partition come in order, so the last one counts."""
    return {TopicPartition(each.topic, each.partition): (each.offset + 1, "") for each in records}


async def _parse(records: tuple[ConsumerRecord, ...]) -> KafkaMessage:
    """FastStream's message around a batch, without its headers: a null or non-UTF-8 header of one message would make
    FastStream drop the whole batch.
    """
    return KafkaMessage(
        raw_message=records,
        body=[],
        headers={},
        batch_headers=[],
        consumer=FAKE_CONSUMER,  # we commit by ourselves
        message_id=f"{records[0].offset}-{records[-1].offset}",
        correlation_id=None,
    )


def _documented(consume: Callable[[Any], Awaitable[None]], topics: Sequence[Topic]) -> Callable[[Any], Awaitable[None]]:
    """The same function, with the events' types for AsyncAPI, which reads them from the signature."""

    async def batch_of_events(batch: Any) -> None:
        await consume(batch)

    batch_of_events.__annotations__["batch"] = event_union([event for topic in topics for event in topic.events])
    return batch_of_events


async def _leave_undecoded(message: Any) -> Any:
    return message
