"""Commits that never meet a rebalance.

A commit that is sent while the group rebalances is answered under the new generation; aiokafka takes that answer for
a lost membership and joins again, which starts the next rebalance: the group does not come to rest (measured: 75
generations in 85 seconds). So commits are explicit, and held back from the moment that partitions are revoked until
they are assigned.
"""

import asyncio
from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, OffsetAndMetadata, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from runtime.kafka.aiokafka_internals import committed_with_metadata, is_member
from runtime.logs import log

REQUEST_SECONDS = 10.0


class RebalanceSafeCommits:
    """Commits for one consumer. Close the gate when partitions are revoked, open it when they are assigned."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()  # a commit that has begun is over before JoinGroup is sent
        self._committed: dict[TopicPartition, tuple[int, str]] = {}

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def close(self) -> None:
        """A rebalance begins."""
        self._open.clear()

    def open(self) -> None:
        """A rebalance is over: under the new generation everything may be committed anew."""
        self._committed.clear()
        self._open.set()

    def last(self, partition: TopicPartition) -> int | None:
        """The offset last committed in this generation."""
        found = self._committed.get(partition)
        return found[0] if found else None

    async def stored(
        self, consumer: AIOKafkaConsumer | None, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, tuple[int, str]] | None:
        """What the group has committed, whoever did: (offset, metadata) of the partitions that have a commit. None if
        Kafka does not answer.
        """
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await committed_with_metadata(consumer, partitions)
        except (KafkaError, TimeoutError) as error:
            log.warning("Commits of earlier owners are unknown", action="restore_skipped", error=repr(error))
            return None

    async def commit(
        self,
        consumer: AIOKafkaConsumer,
        offsets: Mapping[TopicPartition, tuple[int, str]],
        *,
        leaving: bool = False,
    ) -> bool:
        """Commit (offset, metadata) where it differs from what was committed. Whether all of it is committed now.

        `leaving`: from within on_partitions_revoked, the one moment at which a closed gate may still be passed,
        because the old generation is valid until we return.
        """
        async with self._one_at_a_time:
            moved = {partition: each for partition, each in offsets.items() if self._committed.get(partition) != each}
            if not moved:
                return True
            if not (self.is_open or leaving) or not is_member(consumer):
                return False
            try:
                async with asyncio.timeout(REQUEST_SECONDS):
                    await consumer.commit({partition: OffsetAndMetadata(*each) for partition, each in moved.items()})
            except (CommitFailedError, IllegalStateError) as error:
                log.warning("Commit refused, the next owner reads again", action="commit_refused", error=repr(error))
                return False
            except (KafkaError, TimeoutError) as error:
                log.warning("Commit failed", action="commit_failed", error=repr(error))
                return False
            self._committed |= moved
            return True
