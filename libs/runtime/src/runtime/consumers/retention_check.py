"""Reports messages that retention deleted before their consumer group had read them.

Kafka does not report this. A consumer whose next offset was deleted continues at the first message that still exists.
"""

import asyncio
import time
from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from runtime.kafka.aiokafka_internals import highwater, position
from runtime.logs import log
from runtime.metrics import ConsumerMetrics

_INTERVAL_SECONDS = 10.0
_REQUEST_SECONDS = 3.0
"""A short time, because a rebalance waits for the response. During an outage of Kafka, a stop also waits for it."""


class RetentionCheck:
    """Compares the next offsets of one consumer group with the first offsets that Kafka still has."""

    def __init__(self, group: str, metrics: ConsumerMetrics) -> None:
        self._group, self._metrics = group, metrics
        self._reported: dict[TopicPartition, int] = {}
        self._checked_at: float | None = None

    async def on_assigned(
        self, consumer: AIOKafkaConsumer, committed: Mapping[TopicPartition, tuple[int, str]]
    ) -> None:
        """Check the offsets that the group has committed. Call this before the first commit of the new assignment."""
        offsets = {each: offset for each, (offset, _) in committed.items()}
        self.compare(offsets, await self._beginnings(consumer, offsets))

    async def on_turn(self, consumer: AIOKafkaConsumer) -> None:
        """Check the positions of a running consumer, at most every 10 seconds. Positions can fall behind without a new
        assignment, for example in a database outage that is longer than the retention.
        """
        if self._checked_at is not None and time.monotonic() - self._checked_at < _INTERVAL_SECONDS:
            return
        self._checked_at = time.monotonic()
        assigned = consumer.assignment()
        positions = {each: at for each in assigned if (at := position(consumer, each)) is not None}
        beginnings = await self._beginnings(consumer, positions)
        self.compare(positions, beginnings)
        ends = {each: highwater(consumer, each) for each in beginnings}
        retained = {
            (each.topic, each.partition): max(0, end - beginnings[each])
            for each, end in ends.items()
            if end is not None
        }
        self._metrics.report_retained(self._group, retained)

    def compare(self, next_offsets: Mapping[TopicPartition, int], beginnings: Mapping[TopicPartition, int]) -> None:
        """Log each partition whose next offset was deleted, and count the deleted messages. The same messages are
        reported only once.
        """
        for partition, beginning in beginnings.items():
            known = self._reported.get(partition, 0)
            if known > beginning:
                known = 0  # the topic was recreated
            lost = beginning - max(next_offsets[partition], known)
            if lost > 0:
                self._reported[partition] = beginning
                self._report(partition, next_offsets[partition], beginning, lost)

    def _report(self, partition: TopicPartition, committed: int, beginning: int, lost: int) -> None:
        self._metrics.deleted_unread.labels(self._group, partition.topic).inc(lost)
        log.error(
            "Kafka's retention deleted messages that this consumer group had not read. The group continues at the"
            " first message that Kafka still has. Follow docs/runbook.md#retention-has-overtaken-a-consumer",
            action="deleted_unread",
            group=self._group,
            topic=partition.topic,
            partition=partition.partition,
            committed=committed,
            beginning=beginning,
            messages_lost_at_most=lost,
        )

    async def _beginnings(
        self, consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, int]:
        if not partitions:
            return {}
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                return dict(await consumer.beginning_offsets(list(partitions)))
        except (KafkaError, TimeoutError) as error:
            log.warning(
                "The first offsets could not be read: messages that retention deleted are not reported now",
                action="retention_check_skipped",
                group=self._group,
                error=repr(error),
            )
            return {}
