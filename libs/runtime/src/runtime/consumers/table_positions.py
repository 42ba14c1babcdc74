"""Where to begin with a partition that was assigned, what it takes to be live, and what to commit.

Partition numbers stand for the same partition of all topics; `TopicPartition` for one of them.
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
    """How a partition becomes live: seek to `start`, read the tables to `end`."""

    start: Mapping[TopicPartition, int]
    end: Mapping[TopicPartition, int]
    """Of the tables only."""
    from_beginning: bool
    """Whether nothing that was known of this partition may be kept."""


@dataclass(frozen=True)
class Log:
    """What Kafka says about one topic's partition: its first and next offset, and the group's commit."""

    beginning: int
    end: int
    committed: int | None


class TablePositions:
    """The next offset to read of every partition, kept through rebalances."""

    def __init__(self, *, tables: Collection[str], live: Collection[str], retention: RetentionCheck) -> None:
        self._retention = retention
        self._tables, self._live_topics = tuple(tables), tuple(live)
        self._next: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}

    def known(self) -> set[int]:
        """Partition numbers of which anything was read."""
        return {partition.partition for partition in self._next}

    def complete(self, assigned: Collection[TopicPartition]) -> set[int]:
        """The partition numbers that were assigned in all topics. Others cannot be used: their book is elsewhere."""
        topics = (*self._tables, *self._live_topics)
        sets = [{each.partition for each in assigned if each.topic == topic} for topic in topics]
        numbers = set.intersection(*sets)
        if torn := set.union(*sets) - numbers:
            log.error(
                "Partitions are not owned in all topics and lie idle; do all instances run the same release?",
                action="torn_partitions",
                partitions=sorted(torn),
            )
        return numbers

    def keep_only(self, numbers: set[int]) -> set[int]:
        """Forget all others; returns those that were forgotten."""
        gone = self.known() - numbers
        self._next = {each: offset for each, offset in self._next.items() if each.partition not in gone}
        return gone

    def moved(self, partition: TopicPartition, offset: int) -> None:
        """The next offset to read is this one."""
        self._next[partition] = offset

    def refresh(self, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
        """Take over the consumer's positions, which also pass compaction gaps and control batches."""
        for partition in partitions:
            if (offset := position(consumer, partition)) is not None and partition in self._next:
                self._next[partition] = max(self._next[partition], offset)

    def readable(self, numbers: Collection[int], live: Collection[int]) -> list[TopicPartition]:
        """The tables of all these numbers, the live topics of those that are live."""
        tables = [TopicPartition(topic, number) for topic in self._tables for number in numbers]
        return tables + [TopicPartition(topic, number) for topic in self._live_topics for number in live]

    def reached(self, end: Mapping[TopicPartition, int]) -> bool:
        return all(self._next.get(partition, -1) >= offset for partition, offset in end.items())

    def to_commit(self, numbers: Collection[int]) -> dict[TopicPartition, tuple[int, str]]:
        """Positions worth committing: the live topics need them, the tables' show the lag to dashboards and tell
        which unreadable messages were put aside before. Never less than was committed.
        """
        return {
            each: (offset, "")
            for each, offset in self._next.items()
            if each.partition in numbers and offset >= self._committed.get(each, 0)
        }

    def was_committed(self, record: ConsumerRecord) -> bool:
        """Whether the group had passed this message before we were assigned its partition."""
        return bool(record.offset < self._committed.get(TopicPartition(record.topic, record.partition), 0))

    def note_commits(self, logs: Mapping[TopicPartition, Log]) -> None:
        """Remember how far the group had come before us."""
        self._committed |= {each: found.committed for each, found in logs.items() if found.committed is not None}

    async def survey(self, consumer: AIOKafkaConsumer, numbers: set[int]) -> dict[int, RecoveryPlan]:
        """Ask Kafka where these partitions begin and end. Raises `KafkaError` or `TimeoutError`."""
        partitions = self.readable(numbers, numbers)
        async with asyncio.timeout(REQUEST_SECONDS):
            beginnings = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
            commits = await committed_with_metadata(consumer, partitions)
        logs = {
            each: Log(beginnings[each], ends[each], commits[each][0] if each in commits else None)
            for each in partitions
        }
        self._check_retention(logs)
        self.note_commits(logs)
        return {number: self.opening(number, logs) for number in numbers}

    def _check_retention(self, logs: Mapping[TopicPartition, Log]) -> None:
        """Of the group's commit and our own position the later one counts. Without either, nothing was to be read."""
        offsets = {
            each: max(known)
            for each, found in logs.items()
            if (known := [offset for offset in (found.committed, self._next.get(each)) if offset is not None])
        }
        self._retention.compare(offsets, {each: logs[each].beginning for each in offsets})

    def opening(self, number: int, logs: Mapping[TopicPartition, Log]) -> RecoveryPlan:
        """Go on where we stopped if all tables can; else begin anew."""
        tables = [TopicPartition(topic, number) for topic in self._tables]
        resumable = all(
            each in self._next and logs[each].beginning <= self._next[each] <= logs[each].end for each in tables
        )
        start = {each: self._next[each] if resumable else logs[each].beginning for each in tables}
        for topic in self._live_topics:
            each = TopicPartition(topic, number)
            start[each] = _live_start(logs[each], self._next.get(each) if resumable else None)
        return RecoveryPlan(start, {each: logs[each].end for each in tables}, from_beginning=not resumable)


def _live_start(partition: Log, kept: int | None) -> int:
    """Where we stopped, else where the group stopped, else the end; the beginning where that is gone already."""
    wanted = next((offset for offset in (kept, partition.committed) if offset is not None), partition.end)
    return min(max(wanted, partition.beginning), partition.end)
