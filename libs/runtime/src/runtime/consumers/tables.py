"""Restores the state of partitions from several co-partitioned topics into memory, then follows the topics.

An instance owns the same partition numbers of all topics. `tables` are compacted topics: after an assignment they are
read from the beginning to the end, and only then is the partition live. `live` topics are read only while the partition
is live: from the group's commit, or from the beginning if the group has none.

Delivery: **at least once**, in order per topic. Some effects of messages must not be lost. An offset is committed only
after all such effects of the messages before it are published. The owner reports this for each regular commit
(`unpublished`) and in a hand-over (`on_revoked`).

A rebalance revokes all partitions of all members. If a partition is assigned to this process again, it continues at its
last position and does not read the tables again.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError
from typing_extensions import override

from contracts.event import Event
from contracts.topics import Topic
from runtime.consumers.commits import RebalanceSafeCommits
from runtime.consumers.membership_fence import MembershipFence
from runtime.consumers.monitor import ConsumerMonitor
from runtime.consumers.retention_check import RetentionCheck
from runtime.consumers.table_positions import RecoveryPlan, TablePositions
from runtime.dead_letters import DeadLetters
from runtime.kafka.aiokafka_internals import NOTHING, coordinator_problem
from runtime.kafka.client_lifecycle import ConsumerDied, close_consumer, start_consumer
from runtime.kafka.clients import build_consumer, topic_name
from runtime.kafka.codec import UnreadableMessage, decode
from runtime.lifecycle.background import Background
from runtime.logs import log
from runtime.metrics import ConsumerMetrics
from runtime.settings import KafkaSettings

_MAX_RECORDS = 500
_COMMIT_SECONDS = 5.0
_REVOKE_SECONDS = 10.0


class PartitionOwner(Protocol):
    """Callbacks for the code that owns the state of the assigned partitions.

    All callbacks except `on_revoked` run between polls and must be quick.
    """

    def on_record(self, partition: int, topic: Topic, key: str, event: Event | None) -> None:
        """Receives one message, in order per topic, possibly more than once. `event` is None for a tombstone. It is
        also called while the partition is restored, before `on_live(partition)`.
        """

    def unpublished(self) -> set[int]:
        """The partitions that have messages with unpublished effects that must not be lost. Their offsets are not
        committed. If the process dies, the next owner reads these messages again.
        """

    def on_live(self, partition: int) -> None:
        """Called when the state of the partition is complete. The owner may act on it from now on."""

    async def on_revoked(self, partitions: set[int]) -> bool:
        """Stop acting on these partitions before this returns: another member may own them immediately after. Keep
        their state.

        Returns whether their offsets may be committed, which means that all effects of their messages are published. If
        not, the next owner reads the messages again.
        """

    def on_dropped(self, partitions: set[int]) -> None:
        """Drop the state of these partitions: other members own them now, or they will be read from the beginning."""


class CoPartitionedTables(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Owns, restores and follows partitions. See the module for the guarantees."""

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        group: str,
        tables: Sequence[Topic],
        live: Sequence[Topic] = (),
        owner: PartitionOwner,
        dead_letters: DeadLetters,
        metrics: ConsumerMetrics,
    ) -> None:
        if len({topic.partitions for topic in (*tables, *live)}) != 1:
            raise ValueError("co-partitioned topics must have the same number of partitions")
        self._settings, self._group, self._owner, self._dead_letters = settings, group, owner, dead_letters
        self._topics = {topic_name(settings, topic): topic for topic in (*tables, *live)}
        self._positions = TablePositions(
            tables=[topic_name(settings, topic) for topic in tables],
            live=[topic_name(settings, topic) for topic in live],
            retention=RetentionCheck(group, metrics),
        )
        self._monitor = ConsumerMonitor(group, metrics)
        self._membership = MembershipFence.of(settings)
        self._commits = RebalanceSafeCommits()
        self._stopping = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self._to_plan: set[int] = set()  # assigned, but without a recovery plan
        self._recovering: dict[int, RecoveryPlan] = {}  # partitions that are being restored
        self._live: set[int] = set()
        self._generation = 0

    # -- for the worker and the owner --------------------------------------------------------------------------------

    def background(self) -> Background:
        """The task for the worker, with its health checks."""
        return Background(f"tables of {self._group}", self.run, self.stop, self.liveness, self.readiness)

    @property
    def live_partitions(self) -> frozenset[int]:
        return frozenset(self._live)

    def ownership_confirmed(self) -> bool:
        """Whether no rebalance is in progress and the group has confirmed the membership within half the session
        timeout. If not, another member may soon own the partitions without notice: do not act until this is true again.
        """
        return self._commits.is_open and self.membership_confirmed()

    def ownership_problem(self) -> str | None:
        """The reason why another member may own the live partitions by now. None if ownership is certain."""
        if not self._live or self.ownership_confirmed():
            return None
        return "the consumer group has not confirmed this member for half of its session timeout"

    def membership_confirmed(self) -> bool:
        """As `ownership_confirmed`, but also true during a regular hand-over."""
        return self._membership.is_fresh()

    def liveness(self) -> str | None:
        return self._monitor.liveness()

    def readiness(self) -> str | None:
        if (problem := self._monitor.readiness()) is not None:
            return problem
        waiting = len(self._to_plan | self._recovering.keys())
        return f"{waiting} partitions are being restored" if waiting else None

    async def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Own, restore and follow partitions until stopped. Raises if the consumer fails permanently."""
        consumer = await start_consumer(self._build, self._stopping, group=self._group)
        if consumer is None:
            return
        self._consumer = consumer
        self._monitor.attach(consumer)
        self._membership.attach(consumer)
        consumer.subscribe(list(self._topics), listener=self)
        following = asyncio.create_task(self._follow(consumer), name=f"follow {self._group}")
        committing = asyncio.create_task(self._commit_loop(consumer), name=f"commit {self._group}")
        stopping = asyncio.create_task(self._stopping.wait())
        tasks: list[asyncio.Task[Any]] = [following, committing, stopping]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in (following, committing):
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._commit(consumer, await self._release_partitions())
            await close_consumer(consumer)

    # -- group membership: aiokafka's coordinator calls these; heartbeats continue meanwhile ------------------------

    @override
    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Called before JoinGroup is sent: the owner stops acting. Positions and state stay in memory."""
        self._commits.close()
        self._monitor.revoked()
        self._generation += 1
        committable = await self._release_partitions()
        if self._consumer is not None and revoked:
            await self._commit(self._consumer, committable, leaving=True)

    @override
    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Only stores the assignment. The loop reads the offsets, because that may fail and is then tried again."""
        self._generation += 1
        numbers = self._positions.complete(assigned)
        if gone := self._positions.keep_only(numbers):
            self._owner.on_dropped(gone)
        self._to_plan, self._recovering, self._live = set(numbers), {}, set()
        self._membership.joined()
        self._monitor.assigned()
        self._commits.open()
        log.info("Partitions assigned", action="assigned", group=self._group, partitions=sorted(numbers))

    async def _release_partitions(self) -> set[int]:
        """Call `on_revoked` of the owner. Returns the partitions whose offsets may be committed. Partitions that are
        being restored are left out, because they may have unpublished effects from before an earlier rebalance.
        """
        live, owned = self._live, self._live | self._recovering.keys()
        self._live, self._recovering, self._to_plan = set(), {}, set()
        if not owned:
            return set()
        try:
            async with asyncio.timeout(_REVOKE_SECONDS):
                return live if await self._owner.on_revoked(owned) else set()
        except TimeoutError:
            log.exception(
                "The hand-over of partitions took too long: their offsets are not committed",
                action="revoke_timeout",
                partitions=sorted(owned),
            )
            return set()

    # -- following ---------------------------------------------------------------------------------------------------

    def _build(self) -> AIOKafkaConsumer:
        # The range assignor assigns equal partition numbers of all topics to one member, if all members have the same
        # subscription.
        return build_consumer(
            self._settings,
            group=self._group,
            client_id=self._group,
            partition_assignment_strategy=(RangePartitionAssignor,),
        )

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            self._monitor.poll_started()
            try:
                await self._start_recovery(consumer)
                await self._poll(consumer)
            except (KafkaError, IllegalStateError, TimeoutError) as error:
                if (problem := coordinator_problem(consumer)) is not None:
                    raise ConsumerDied(f"{self._group}: {problem}") from error
                log.warning("Poll failed, trying again", action="poll_failed", error=repr(error))
                await asyncio.sleep(1)
            finally:
                self._monitor.poll_ended()
            await asyncio.sleep(0)

    async def _start_recovery(self, consumer: AIOKafkaConsumer) -> None:
        """Plan the recovery of newly assigned partitions, and seek to its start."""
        if not self._to_plan or not self._commits.is_open:
            return
        generation, numbers = self._generation, set(self._to_plan)
        plans = await self._positions.plan_recovery(consumer, numbers)
        if generation != self._generation:
            return  # after a rebalance, the plans may be for partitions of another member
        from_beginning = {number for number, plan in plans.items() if plan.from_beginning}
        if known := from_beginning & self._positions.keep_only(self._positions.known() - from_beginning):
            self._owner.on_dropped(known)
        for plan in plans.values():
            for partition, offset in plan.start.items():
                consumer.seek(partition, offset)
                self._positions.set_next(partition, offset)
        self._recovering |= plans
        self._to_plan -= numbers
        self._go_live()

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        wanted = self._positions.readable(self._recovering.keys() | self._live, self._live)
        generation = self._generation
        batches = await consumer.getmany(*(wanted or [NOTHING]), timeout_ms=200, max_records=_MAX_RECORDS)
        for partition, records in batches.items():
            for record in records:
                if generation != self._generation:
                    return  # A rebalance started while a dead letter was sent. The new owner reads the rest again.
                await self._deliver(record)
                if generation == self._generation:
                    self._positions.set_next(partition, record.offset + 1)
        if generation == self._generation:
            self._positions.refresh(consumer, wanted)
            self._go_live()

    def _go_live(self) -> None:
        for number in [each for each, plan in self._recovering.items() if self._positions.reached(plan.end)]:
            del self._recovering[number]
            self._live.add(number)
            self._owner.on_live(number)

    async def _deliver(self, record: ConsumerRecord) -> None:
        topic, key = self._topics[record.topic], (record.key or b"").decode(errors="replace")
        try:
            event = None if record.value is None and topic.tombstones else decode(topic, record.value)
        except UnreadableMessage as unreadable:
            return await self._send_dead_letter(record, unreadable.reason, readable=False)
        self._dead_letters.readable(record)
        try:
            self._owner.on_record(record.partition, topic, key, event)
        except Exception as error:  # noqa: BLE001 -- one message must not stop all others
            log.warning("A message could not be applied", action="record_failed", topic=topic.name, exc_info=error)
            await self._send_dead_letter(record, f"{type(error).__name__}: {error}", readable=True)
        else:
            self._dead_letters.handled()

    async def _send_dead_letter(self, record: ConsumerRecord, reason: str, *, readable: bool) -> None:
        """Store one dead letter per message. A compacted topic keeps the message, so every restore reads it again.

        A message before the group's commit already is a dead letter. It still counts for the limits: otherwise a
        release that can read no message would start with empty tables.
        """
        if self._positions.was_committed(record):
            self._dead_letters.count_repeated(record, reason, readable=readable)
        elif readable:
            await self._dead_letters.send(record, reason)
        else:
            await self._dead_letters.send_unreadable(record, reason)

    async def _commit_loop(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await asyncio.sleep(_COMMIT_SECONDS)
            await self._commit(consumer, self._live - self._owner.unpublished())
            self._monitor.report_lag()

    async def _commit(self, consumer: AIOKafkaConsumer, only: Collection[int], *, leaving: bool = False) -> None:
        if self._dead_letters.may_commit:
            await self._commits.commit(consumer, self._positions.to_commit(only), leaving=leaving)
