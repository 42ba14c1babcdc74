"""Many messages at once, at least once each, from one consumer.

FastStream offers either concurrency without guarantees or one message at a time per partition, so this consumes with
aiokafka directly. Delivery: **at least once**. A message's offset is committed only when it and all before it in its
partition are finished; finished means handled, or acknowledged as a dead letter.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError
from typing_extensions import override

from contracts.event import Event
from contracts.topics import Topic
from runtime.consumers.attempts import Attempts, Handler
from runtime.consumers.commits import RebalanceSafeCommits
from runtime.consumers.lane_queue import LaneQueue
from runtime.consumers.limits import InFlightLimits
from runtime.consumers.monitor import ConsumerMonitor
from runtime.consumers.offset_tracker import PartitionTracker
from runtime.consumers.retention_check import RetentionCheck
from runtime.dead_letters import DeadLetters
from runtime.kafka.aiokafka_internals import NOTHING, coordinator_problem
from runtime.kafka.client_lifecycle import ConsumerDied, close_consumer, start_consumer
from runtime.kafka.clients import build_consumer, topic_name
from runtime.kafka.codec import UnreadableMessage, decode
from runtime.lifecycle.background import Background
from runtime.logs import log
from runtime.metrics import ConsumerMetrics
from runtime.settings import KafkaSettings
from runtime.waiting import wait_for_event

_CANCEL_SECONDS = 5.0
_READ_AT_ONCE = 200
"""Of one partition, between two turns of the event loop."""


class _Waiting(NamedTuple):
    tracker: PartitionTracker
    partition: TopicPartition
    record: ConsumerRecord
    event: Event | None
    """None where it must wait: as bytes it takes less room."""


class _InHand(NamedTuple):
    tracker: PartitionTracker
    partition: TopicPartition
    offset: int
    lane: Hashable | None
    """None where nobody can read the message: it takes no place, and so waits for none."""


class ConcurrentConsumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Hands messages of one topic to `handler`, many at once; see the module for the guarantee.

    A handler that raises is tried again, then its message becomes a dead letter: a bug must not freeze a partition.
    A handler that is cancelled (at stop) has not finished its message. Messages of a lane begin in their order, but
    for those that are urgent: they overtake what waits.
    """

    def __init__(  # noqa: PLR0913 -- each is a part of its own
        self,
        settings: KafkaSettings,
        topic: Topic,
        *,
        group: str,
        handler: Handler,
        dead_letters: DeadLetters,
        metrics: ConsumerMetrics,
        limits: InFlightLimits | None = None,
        urgent: Callable[[Event], bool] = lambda _: False,
    ) -> None:
        self._settings, self._topic, self._group = settings, topic, group
        self._limits, self._dead_letters = limits or InFlightLimits(), dead_letters
        self._attempts = Attempts(
            handler,
            dead_letters,
            attempts=self._limits.attempts,
            first_pause=self._limits.first_retry,
            on_retry=metrics.retries.labels(group).inc,
        )
        self._monitor, self._retention = ConsumerMonitor(group, metrics), RetentionCheck(group, metrics)
        self.liveness, self.readiness = self._monitor.liveness, self._monitor.readiness
        self._metrics = metrics
        self._trackers: dict[TopicPartition, PartitionTracker] = {}
        self._tasks: dict[asyncio.Task[None], _InHand] = {}
        self._urgent = urgent
        self._lanes = LaneQueue[_Waiting](
            shared=self._limits.in_flight, per_lane=self._limits.per_lane, own=self._limits.own_per_lane
        )
        self._room = asyncio.Event()
        self._stopping = asyncio.Event()
        self._commits = RebalanceSafeCommits()
        self._turn = 0
        self._consumer: AIOKafkaConsumer | None = None
        self._broken: asyncio.Future[None]  # fails when a message can be neither handled nor put aside

    # -- for the worker ------------------------------------------------------------------------------------------

    def background(self) -> Background:
        """For the worker: runs it, stops it, watches it."""
        return Background(f"consumer of {self._topic.name}", self.run, self.stop, self.liveness, self.readiness)

    @property
    def in_flight(self) -> int:
        """Messages being handled right now."""
        return len(self._tasks)

    async def stop(self) -> None:
        """Take no more messages; `run` then finishes what is in hand, commits and returns."""
        self._stopping.set()

    async def run(self) -> None:
        """Consume until stopped. Raises when the consumer breaks down for good."""
        consumer = await start_consumer(self._build, self._stopping, group=self._group)
        if consumer is None:
            return
        self._consumer = consumer
        self._monitor.attach(consumer)
        consumer.subscribe([topic_name(self._settings, self._topic)], listener=self)
        polling = asyncio.create_task(self._poll_for_ever(consumer), name=f"poll {self._topic.name}")
        committing = asyncio.create_task(self._commit_for_ever(consumer), name=f"commit {self._topic.name}")
        stopping = asyncio.create_task(self._stopping.wait())
        self._broken = asyncio.get_running_loop().create_future()
        try:
            ways_out: list[asyncio.Future[Any]] = [polling, committing, stopping, self._broken]
            await asyncio.wait(ways_out, return_when=asyncio.FIRST_COMPLETED)
            polling.cancel()
            await asyncio.wait([polling])
            if stopping.done():
                await self._drain(set(self._trackers), self._limits.drain_on_stop)
            for way_out in ways_out:
                if way_out.done() and not way_out.cancelled():
                    way_out.result()
        finally:
            self._stopping.set()
            for way_out in ways_out:
                way_out.cancel()
            await self._settle_letters()
            await self._abandon_tasks()
            await self._commit(consumer, set(consumer.assignment()))
            await close_consumer(consumer)

    # -- group membership: called by aiokafka's coordinator, heartbeats go on meanwhile -----------------------------

    @override
    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Before JoinGroup is sent, so the old generation may still commit; after this nobody may."""
        self._commits.close()
        self._monitor.revoked()
        if self._consumer is not None and revoked:
            await self._drain(revoked, self._limits.drain_on_revoke)
            await self._commit(self._consumer, revoked, leaving=True)

    @override
    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Keep what we are given back, give up what went to others: they do it again, not both of us at once."""
        self._give_up(self._trackers.keys() - assigned)
        assert self._consumer is not None  # noqa: S101 -- it calls us
        if (stored := await self._commits.stored(self._consumer, assigned)) is not None:
            await self._retention.on_assigned(self._consumer, stored)
            stored = dict.fromkeys(assigned, (0, "")) | stored
            # More than we know of: we stood still and another went on, and committing what we know would take the
            # group back. Less than we committed: another log under the same name, whose offsets begin anew.
            self._give_up(
                {
                    each
                    for each, tracker in self._trackers.items()
                    if not (self._commits.last(each) or 0) <= stored[each][0] <= (tracker.watermark or 0)
                }
            )
        for partition in assigned - self._trackers.keys():
            self._trackers[partition] = PartitionTracker()
            if stored is not None:
                self._trackers[partition].restore(*stored[partition])
        # What waits for a partition that went to others is theirs; what waits for one that was given back stays.
        self._lanes.keep(lambda each: self._trackers.get(each.partition) is each.tracker)
        self._monitor.assigned()
        self._commits.open()
        self._begin_waiting()
        log.info("Partitions assigned", action="assigned", group=self._group, partitions=len(assigned))

    # -- polling -----------------------------------------------------------------------------------------------------

    def _build(self) -> AIOKafkaConsumer:
        # Sticky: a new member takes some partitions and leaves the others their warm clients and rate budgets.
        # aiokafka keeps that assignor's memory in class attributes, hence a class per consumer.
        assignor: Any = type("Sticky", (StickyPartitionAssignor,), {})
        return build_consumer(
            self._settings, group=self._group, client_id=self._group, partition_assignment_strategy=(assignor,)
        )

    async def _poll_for_ever(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            self._monitor.poll_begins()
            try:
                await self._poll(consumer)
            except (KafkaError, IllegalStateError) as error:
                if (problem := coordinator_problem(consumer)) is not None:
                    raise ConsumerDied(f"{self._topic.name}: {problem}") from error
                log.warning("Poll failed, trying again", action="poll_failed", error=repr(error))
                await asyncio.sleep(1)
            finally:
                self._monitor.poll_ended()
            await asyncio.sleep(0)  # polls that find buffered records never yield by themselves

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        """One round: from each partition as much as it has room for; never `pause()`, which throws prefetched
        records away. Also polls when there is nothing to ask for: that surfaces the group's errors.
        """
        if not self._commits.is_open:
            await consumer.getmany(NOTHING, timeout_ms=10)
            return
        assigned = sorted(consumer.assignment())
        rooms = {partition: room for partition in assigned if (room := self._room_of(partition)) > 0}
        if not assigned or not rooms:
            await consumer.getmany(NOTHING, timeout_ms=0 if assigned else 200)
            await self._wait_for_room()
            return
        self._turn += 1
        taken, first = 0, self._turn % len(rooms)
        for partition in [*rooms][first:] + [*rooms][:first]:  # another one first each time: none is always last
            allowed = min(rooms[partition], _READ_AT_ONCE)
            taken += self._dispatch(await consumer.getmany(partition, timeout_ms=0, max_records=allowed))
        if not taken:
            # Short while a partition is full: its room must be noticed soon. Idle otherwise.
            patience = 200 if len(rooms) == len(assigned) else 20
            self._dispatch(await consumer.getmany(*rooms, timeout_ms=patience, max_records=1))

    def _room_of(self, partition: TopicPartition) -> int:
        tracker = self._trackers.get(partition)
        return self._limits.window - (tracker.window if tracker else 0)

    def _unfinished(self, partition: TopicPartition) -> int:
        return self._trackers[partition].unfinished if partition in self._trackers else 0

    async def _wait_for_room(self) -> None:
        self._room.clear()
        await wait_for_event(self._room, 1.0)

    def _dispatch(self, batches: dict[TopicPartition, list[ConsumerRecord]]) -> int:
        """Begin with each record that is not in hand yet, or let it wait. How many records were looked at."""
        for partition, records in batches.items():
            tracker = self._trackers.setdefault(partition, PartitionTracker())
            for record in records:
                if tracker.start(record.offset):
                    self._admit(tracker, partition, record)
        return sum(len(records) for records in batches.values())

    def _admit(self, tracker: PartitionTracker, partition: TopicPartition, record: ConsumerRecord) -> None:
        """Put it aside at once if it cannot be read, whatever its lane is busy with; else it takes its turn."""
        try:
            event = decode(self._topic, record.value)
        except UnreadableMessage as unreadable:
            self._begin(tracker, partition, record, self._dead_letters.send_unreadable(record, unreadable.reason))
            return
        self._dead_letters.readable(record)
        lane = record.key or partition
        at_once = self._lanes.has_place(lane)
        waiting = _Waiting(tracker, partition, record, event if at_once else None)
        self._lanes.arrive(lane, waiting, urgent=not at_once and self._urgent(event))
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        """Begin with as many messages as there are places. Not while partitions change hands, and not at the end."""
        while self._commits.is_open and not self._stopping.is_set() and (begun := self._lanes.begin()) is not None:
            lane, (tracker, partition, record, event) = begun
            event = event or decode(self._topic, record.value)
            self._begin(tracker, partition, record, self._attempts.settle(event, record), lane)
        self._metrics.in_flight.labels(self._group).set(len(self._tasks))

    # -- one message -------------------------------------------------------------------------------------------------

    def _begin(
        self,
        tracker: PartitionTracker,
        partition: TopicPartition,
        record: ConsumerRecord,
        settling: Coroutine[Any, Any, None],
        lane: Hashable | None = None,
    ) -> None:
        # The task is the coroutine itself. One around it that is cancelled before its first step would never await it.
        task = asyncio.create_task(settling)
        self._tasks[task] = _InHand(tracker, partition, record.offset, lane)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        message = self._tasks.pop(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            message.tracker.finish(message.offset)
        elif not isinstance(error, asyncio.CancelledError) and not self._broken.done():
            self._broken.set_exception(error)
        if message.lane is not None:
            self._lanes.leave(message.lane)
        self._begin_waiting()
        self._room.set()

    async def _drain(self, partitions: set[TopicPartition], seconds: float) -> None:
        if tasks := [task for task, message in self._tasks.items() if message.partition in partitions]:
            await asyncio.wait(tasks, timeout=seconds)

    def _give_up(self, lost: set[TopicPartition]) -> None:
        """A letter under way may still arrive: one too many is better than one too few."""
        self._trackers = {each: tracker for each, tracker in self._trackers.items() if each not in lost}
        for task, message in self._tasks.items():
            if message.partition in lost and message.lane is not None:
                task.cancel()

    async def _settle_letters(self) -> None:
        """What was put aside is in the topic before we go: whoever is alarmed by a limit will want to look at it."""
        if letters := [task for task, message in self._tasks.items() if message.lane is None]:
            await asyncio.wait(letters, timeout=_CANCEL_SECONDS)

    async def _abandon_tasks(self) -> None:
        """What is not finished by now is not finished: the next owner does it again."""
        if tasks := list(self._tasks):
            for task in tasks:
                task.cancel()
            log.warning("Work in hand was abandoned, it will be done again", action="abandoned", messages=len(tasks))
            await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)

    # -- commits -----------------------------------------------------------------------------------------------------

    async def _commit_for_ever(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await asyncio.sleep(self._limits.commit_interval)
            await self._commit(consumer, set(consumer.assignment()))
            await self._retention.on_turn(consumer)
            self._monitor.report_lag(self._unfinished)
            self._metrics.waiting.labels(self._group).set(len(self._lanes))

    async def _commit(self, consumer: AIOKafkaConsumer, only: set[TopicPartition], *, leaving: bool = False) -> None:
        if not self._dead_letters.may_commit:
            return
        snapshots = {
            partition: snapshot
            for partition, tracker in self._trackers.items()
            if partition in only and (snapshot := tracker.snapshot()) is not None
        }
        await self._commits.commit(consumer, snapshots, leaving=leaving)
