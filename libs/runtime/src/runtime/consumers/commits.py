"""Commits that are never sent during a rebalance.

Kafka answers a commit that is sent during a rebalance under the new generation. aiokafka takes this answer for a lost
membership and joins again, which starts the next rebalance (measured: 75 generations in 85 seconds). So commits are
explicit, and they are held back from the revocation of the partitions until the next assignment.
"""

import asyncio
from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, OffsetAndMetadata, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from runtime.kafka.aiokafka_internals import committed_with_metadata, is_member
from runtime.logs import log

REQUEST_SECONDS = 10.0


class RebalanceSafeCommits:
    """Commits for one consumer. Call `close` when partitions are revoked and `open` when they are assigned."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()  # a started commit ends before JoinGroup is sent
        self._committed: dict[TopicPartition, tuple[int, str]] = {}

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def close(self) -> None:
        """A rebalance starts: no more commits."""
        self._open.clear()

    def open(self) -> None:
        """A rebalance has ended: under the new generation, every offset may be committed again."""
        self._committed.clear()
        self._open.set()

    def last(self, partition: TopicPartition) -> int | None:
        """The offset that was committed last in this generation."""
        found = self._committed.get(partition)
        return found[0] if found else None

    async def stored(
        self, consumer: AIOKafkaConsumer | None, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, tuple[int, str]] | None:
        """The commits of the whole group: (offset, metadata) of each partition that has a commit. None if Kafka does
        not respond.
        """
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await committed_with_metadata(consumer, partitions)
        except (KafkaError, TimeoutError) as error:
            log.warning(
                "The commits of earlier owners could not be read: finished messages may be handled again",
                action="restore_skipped",
                error=repr(error),
            )
            return None

    async def commit(
        self,
        consumer: AIOKafkaConsumer,
        offsets: Mapping[TopicPartition, tuple[int, str]],
        *,
        leaving: bool = False,
    ) -> bool:
        """Commit each (offset, metadata) that differs from the last commit. Returns whether all are committed now.

        `leaving`: commit although commits are closed. Only on_partitions_revoked may do so, because the old generation
        stays valid until it returns.
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
                log.warning(
                    "Commit refused: the next owner of the partitions reads these messages again",
                    action="commit_refused",
                    error=repr(error),
                )
                return False
            except (KafkaError, TimeoutError) as error:
                log.warning("Commit failed, trying again later", action="commit_failed", error=repr(error))
                return False
            self._committed |= moved
            return True
