"""The offsets of co-partitioned tables: where to start reading, when a partition is live, and what to commit.

In this module, a partition number stands for the partitions of all topics with this number. A `TopicPartition` is one
of them.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from runtime.consumers.commits import REQUEST_SECONDS
from runtime.consumers.retention_check import RetentionCheck
from runtime.kafka.aiokafka_internals import committed_with_metadata, position
from runtime.logs import log


@dataclass(frozen=True)
class RecoveryPlan:
    """The steps that make a partition live: seek to `start`, then read the tables up to `end`."""

    start: Mapping[TopicPartition, int]
    end: Mapping[TopicPartition, int]
    """Offsets of the tables only."""
    from_beginning: bool
    """Whether the state of this partition in memory must be dropped."""


@dataclass(frozen=True)
class PartitionOffsets:
    """Kafka's offsets of one partition: its first and next offset, and the group's commit."""

    beginning: int
    end: int
    committed: int | None


class TablePositions:
    """The next offset to read of every partition. It survives rebalances."""

    def __init__(self, *, tables: Collection[str], live: Collection[str], retention: RetentionCheck) -> None:
        self._retention = retention
        self._tables, self._live_topics = tuple(tables), tuple(live)
        self._next: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}

    def known(self) -> set[int]:
        """Partition numbers with a position in memory."""
        return {partition.partition for partition in self._next}

    def complete(self, assigned: Collection[TopicPartition]) -> set[int]:
        """The partition numbers that were assigned in all topics. Others are incomplete and cannot be used."""
        topics = (*self._tables, *self._live_topics)
        sets = [{each.partition for each in assigned if each.topic == topic} for topic in topics]
        numbers = set.intersection(*sets)
        if torn := set.union(*sets) - numbers:
            log.error(
                "Partitions are not processed, because some of their topics are not assigned: "
                "run the same release on all instances",
                action="torn_partitions",
                partitions=sorted(torn),
            )
        return numbers

    def keep_only(self, numbers: set[int]) -> set[int]:
        """Drop the positions of all other partition numbers, and return these numbers."""
        gone = self.known() - numbers
        self._next = {each: offset for each, offset in self._next.items() if each.partition not in gone}
        return gone

    def set_next(self, partition: TopicPartition, offset: int) -> None:
        """Set the next offset to read."""
        self._next[partition] = offset

    def refresh(self, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
        """Copy the consumer's positions. These also move past gaps of compaction and past control batches."""
        for partition in partitions:
            if (offset := position(consumer, partition)) is not None and partition in self._next:
                self._next[partition] = max(self._next[partition], offset)

    def readable(self, numbers: Collection[int], live: Collection[int]) -> list[TopicPartition]:
        """The tables of all `numbers`, and the live topics of the `live` numbers."""
        tables = [TopicPartition(topic, number) for topic in self._tables for number in numbers]
        return tables + [TopicPartition(topic, number) for topic in self._live_topics for number in live]

    def reached(self, end: Mapping[TopicPartition, int]) -> bool:
        return all(self._next.get(partition, -1) >= offset for partition, offset in end.items())

    def to_commit(self, numbers: Collection[int]) -> dict[TopicPartition, tuple[int, str]]:
        """The positions to commit, never below the last commit. For live topics, the next owner continues at the
        committed positions. For tables, the commits only show the lag in dashboards, and which unreadable messages are
        dead letters already.
        """
        return {
            each: (offset, "")
            for each, offset in self._next.items()
            if each.partition in numbers and offset >= self._committed.get(each, 0)
        }

    def was_committed(self, record: ConsumerRecord) -> bool:
        """Whether the group had read this message before the partition was assigned to this process."""
        return bool(record.offset < self._committed.get(TopicPartition(record.topic, record.partition), 0))

    def note_commits(self, offsets: Mapping[TopicPartition, PartitionOffsets]) -> None:
        """Store the group's commits at the time of the assignment."""
        self._committed |= {each: found.committed for each, found in offsets.items() if found.committed is not None}

    async def plan_recovery(self, consumer: AIOKafkaConsumer, numbers: set[int]) -> dict[int, RecoveryPlan]:
        """Read the partitions' offsets from Kafka and plan from them. Raises `KafkaError` or `TimeoutError`."""
        partitions = self.readable(numbers, numbers)
        async with asyncio.timeout(REQUEST_SECONDS):
            beginnings = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
            commits = await committed_with_metadata(consumer, partitions)
        offsets = {
            each: PartitionOffsets(beginnings[each], ends[each], commits[each][0] if each in commits else None)
            for each in partitions
        }
        self._check_retention(offsets)
        self.note_commits(offsets)
        return {number: self.recovery_plan(number, offsets) for number in numbers}

    def _check_retention(self, offsets: Mapping[TopicPartition, PartitionOffsets]) -> None:
        """Report deleted messages. The check uses the group's commit or this process's own position: the later one of
        the two.

        If neither exists, no message is missing.
        """
        next_offsets = {
            each: max(known)
            for each, found in offsets.items()
            if (known := [offset for offset in (found.committed, self._next.get(each)) if offset is not None])
        }
        self._retention.compare(next_offsets, {each: offsets[each].beginning for each in next_offsets})

    def recovery_plan(self, number: int, offsets: Mapping[TopicPartition, PartitionOffsets]) -> RecoveryPlan:
        """Continue at this process's own positions if Kafka still has them for all tables. Otherwise read the tables
        from the beginning.
        """
        tables = [TopicPartition(topic, number) for topic in self._tables]
        resumable = all(
            each in self._next and offsets[each].beginning <= self._next[each] <= offsets[each].end for each in tables
        )
        start = {each: self._next[each] if resumable else offsets[each].beginning for each in tables}
        for topic in self._live_topics:
            each = TopicPartition(topic, number)
            start[each] = _live_start(offsets[each], self._next.get(each) if resumable else None)
        return RecoveryPlan(start, {each: offsets[each].end for each in tables}, from_beginning=not resumable)


def _live_start(partition: PartitionOffsets, own: int | None) -> int:
    """The offset at which to start in a live topic: this process's own position, or else the group's commit, or else
    the beginning, because an owner may have died before its first commit. If this offset was deleted, the result is the
    first offset that still exists.
    """
    wanted = next((offset for offset in (own, partition.committed) if offset is not None), partition.beginning)
    return min(max(wanted, partition.beginning), partition.end)
