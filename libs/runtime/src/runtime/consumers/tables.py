"""Partitions of several co-partitioned topics, restored into memory and then followed live.

An instance owns the same partition numbers of all topics. `tables` are compacted topics: on assignment they are read
from the beginning to the end, and only then is the partition live. `live` topics are read from where the group left
off, or from the end where it never was, and only while the partition is live.

Delivery: the tables are read **at least once** and in order per topic. `live` topics are **at most once** across a
crash at the wrong moment (their offset may be committed before what was done about the event was published), so they
may carry hints, not duties. In a handover they are **at least once**: offsets are committed only if the owner says
that all that followed from the messages is published.

A rebalance revokes everything from everybody. What this process is given back it goes on with where it stopped,
instead of reading it all again.
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
    """Who keeps the books. All but `on_revoked` must be quick: they run between polls."""

    def on_record(self, partition: int, topic: Topic, key: str, event: Event | None) -> None:
        """One message, in order per topic; `event` is None for a tombstone. Also called while the partition is being
        restored, before `on_live(partition)`. May get a message again.
        """

    def on_live(self, partition: int) -> None:
        """The partition's book is complete: act on it from now on."""

    async def on_revoked(self, partitions: set[int]) -> bool:
        """Stop acting on these before returning: another may own them a moment later. Keep their books.

        Whether their offsets may be committed: all that followed from their messages is published. If not, the next
        owner reads the messages again.
        """

    def on_dropped(self, partitions: set[int]) -> None:
        """Forget the books of these: others own them now, or they are about to be read from the beginning."""


class CoPartitionedTables(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Owns partitions, restores them and follows them. See the module for the guarantees."""

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
        self._heartbeat = MembershipFence(settings.kafka_session_timeout_ms / 1000 / 2)
        self._commits = RebalanceSafeCommits()
        self._stopping = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self._openings: dict[int, RecoveryPlan] = {}  # partitions on the way to being live, with the ends to reach
        self._to_open: set[int] = set()
        self._live: set[int] = set()
        self._generation = 0

    # -- for the worker and the owner --------------------------------------------------------------------------------

    def background(self) -> Background:
        """For the worker: runs it, stops it, watches it."""
        return Background(f"tables of {self._group}", self.run, self.stop, self.liveness, self.readiness)

    @property
    def live_partitions(self) -> frozenset[int]:
        return frozenset(self._live)

    def owned_since_heartbeat_ok(self) -> bool:
        """Whether the group has confirmed our membership within half the session timeout. When not, another may own
        our partitions soon without our having heard: do not act until this is true again.
        """
        return self._commits.is_open and self.confirmed_lately()

    def doubt(self) -> str | None:
        """Why another may own our partitions by now; None while they are surely ours, or we have none."""
        if not self._live or self.owned_since_heartbeat_ok():
            return None
        return "the consumer group has not confirmed our membership for half its session timeout"

    def confirmed_lately(self) -> bool:
        """The same, but also true while we hand partitions over in good order."""
        return self._heartbeat.is_fresh()

    def liveness(self) -> str | None:
        return self._monitor.liveness()

    def readiness(self) -> str | None:
        if (problem := self._monitor.readiness()) is not None:
            return problem
        waiting = len(self._to_open | self._openings.keys())
        return f"{waiting} partitions are being restored" if waiting else None

    async def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Own, restore and follow until stopped. Raises when the consumer breaks down for good."""
        consumer = await start_consumer(self._build, self._stopping, group=self._group)
        if consumer is None:
            return
        self._consumer = consumer
        self._monitor.attach(consumer)
        self._heartbeat.attach(consumer)
        consumer.subscribe(list(self._topics), listener=self)
        following = asyncio.create_task(self._follow(consumer), name=f"follow {self._group}")
        committing = asyncio.create_task(self._commit_for_ever(consumer), name=f"commit {self._group}")
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
            await self._commit(consumer, await self._let_go())
            await close_consumer(consumer)

    # -- group membership: called by aiokafka's coordinator, heartbeats go on meanwhile ------------------------------

    @override
    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Before JoinGroup is sent: stop acting, keep positions and books aside."""
        self._commits.close()
        self._monitor.revoked()
        self._generation += 1
        settled = await self._let_go()
        if self._consumer is not None and revoked:
            await self._commit(self._consumer, settled, leaving=True)

    @override
    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Only note it down: reading offsets may fail and be tried again, which is the loop's business."""
        self._generation += 1
        numbers = self._positions.complete(assigned)
        if gone := self._positions.keep_only(numbers):
            self._owner.on_dropped(gone)
        self._to_open, self._openings, self._live = set(numbers), {}, set()
        self._heartbeat.joined()
        self._monitor.assigned()
        self._commits.open()
        log.info("Partitions assigned", action="assigned", group=self._group, partitions=sorted(numbers))

    async def _let_go(self) -> set[int]:
        """The partitions whose offsets may be committed. Not those that are being restored: what their live topics
        taught before an earlier rebalance may be unpublished.
        """
        live, owned = self._live, self._live | self._openings.keys()
        self._live, self._openings, self._to_open = set(), {}, set()
        if not owned:
            return set()
        try:
            async with asyncio.timeout(_REVOKE_SECONDS):
                return live if await self._owner.on_revoked(owned) else set()
        except TimeoutError:
            log.exception("Letting go of partitions took too long", action="revoke_timeout", partitions=sorted(owned))
            return set()

    # -- following ---------------------------------------------------------------------------------------------------

    def _build(self) -> AIOKafkaConsumer:
        # Range gives equal partition numbers of all topics to the same member, as long as all subscribe to the same.
        return build_consumer(
            self._settings,
            group=self._group,
            client_id=self._group,
            partition_assignment_strategy=(RangePartitionAssignor,),
        )

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            self._monitor.poll_begins()
            try:
                await self._open_assigned(consumer)
                await self._poll(consumer)
            except (KafkaError, IllegalStateError, TimeoutError) as error:
                if (problem := coordinator_problem(consumer)) is not None:
                    raise ConsumerDied(f"{self._group}: {problem}") from error
                log.warning("Poll failed, trying again", action="poll_failed", error=repr(error))
                await asyncio.sleep(1)
            finally:
                self._monitor.poll_ended()
            await asyncio.sleep(0)

    async def _open_assigned(self, consumer: AIOKafkaConsumer) -> None:
        """Find out where to begin with new partitions, and where their restore ends."""
        if not self._to_open or not self._commits.is_open:
            return
        generation, numbers = self._generation, set(self._to_open)
        openings = await self._positions.survey(consumer, numbers)
        if generation != self._generation:
            return  # a rebalance came between; what was learnt is about somebody else's partitions
        again = {number for number, opening in openings.items() if opening.from_beginning}
        if known := again & self._positions.keep_only(self._positions.known() - again):
            self._owner.on_dropped(known)
        for opening in openings.values():
            for partition, offset in opening.start.items():
                consumer.seek(partition, offset)
                self._positions.moved(partition, offset)
        self._openings |= openings
        self._to_open -= numbers
        self._go_live()

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        wanted = self._positions.readable(self._openings.keys() | self._live, self._live)
        generation = self._generation
        batches = await consumer.getmany(*(wanted or [NOTHING]), timeout_ms=200, max_records=_MAX_RECORDS)
        for partition, records in batches.items():
            for record in records:
                if generation != self._generation:
                    return  # delivering a dead letter took a rebalance; the rest is read again or not ours
                await self._deliver(record)
                if generation == self._generation:
                    self._positions.moved(partition, record.offset + 1)
        if generation == self._generation:
            self._positions.refresh(consumer, wanted)
            self._go_live()

    def _go_live(self) -> None:
        for number in [each for each, opening in self._openings.items() if self._positions.reached(opening.end)]:
            del self._openings[number]
            self._live.add(number)
            self._owner.on_live(number)

    async def _deliver(self, record: ConsumerRecord) -> None:
        topic, key = self._topics[record.topic], (record.key or b"").decode(errors="replace")
        try:
            event = None if record.value is None and topic.tombstones else decode(topic, record.value)
        except UnreadableMessage as unreadable:
            return await self._put_aside(record, unreadable.reason, readable=False)
        self._dead_letters.readable(record)
        try:
            self._owner.on_record(record.partition, topic, key, event)
        except Exception as error:  # noqa: BLE001 -- one message must not stop the book of all others
            log.warning("A message could not be entered", action="record_failed", topic=topic.name, exc_info=error)
            await self._put_aside(record, f"{type(error).__name__}: {error}", readable=True)
        else:
            self._dead_letters.handled()

    async def _put_aside(self, record: ConsumerRecord, reason: str, *, readable: bool) -> None:
        """Once: a compacted topic keeps the message, so every restore meets it again. What lies before the group's
        commit was put aside when it was new; it still counts, or a release that can read nothing would start with an
        empty book.
        """
        if self._positions.was_committed(record):
            self._dead_letters.met_again(record, reason, readable=readable)
        elif readable:
            await self._dead_letters.send(record, reason)
        else:
            await self._dead_letters.send_unreadable(record, reason)

    async def _commit_for_ever(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await asyncio.sleep(_COMMIT_SECONDS)
            await self._commit(consumer, self._live)
            self._monitor.report_lag()

    async def _commit(self, consumer: AIOKafkaConsumer, only: Collection[int], *, leaving: bool = False) -> None:
        if self._dead_letters.may_commit:
            await self._commits.commit(consumer, self._positions.to_commit(only), leaving=leaving)
