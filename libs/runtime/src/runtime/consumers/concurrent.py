"""Handles many messages at the same time, each at least once.

FastStream offers either concurrency without guarantees or one message at a time per partition, so this module uses
aiokafka directly. Delivery: **at least once**. The offset of a message is committed only when the message and all
earlier ones of its partition are finished: handled, or acknowledged as a dead letter.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from typing_extensions import override

from contracts.event import Event
from contracts.topics import Topic
from runtime.consumers.attempts import Attempts, Handler
from runtime.consumers.co_partitioned import assignor_of, co_partitioned, owned_of
from runtime.consumers.commits import RebalanceSafeCommits
from runtime.consumers.in_flight import InFlightMessage, InFlightMessages
from runtime.consumers.lane_queue import LaneQueue
from runtime.consumers.limits import InFlightLimits
from runtime.consumers.membership_fence import MembershipFence
from runtime.consumers.monitor import ConsumerMonitor
from runtime.consumers.offset_tracker import PartitionTracker
from runtime.consumers.retention_check import RetentionCheck
from runtime.consumers.superseding import Superseding, WaitingMessage, supersede
from runtime.consumers.work_class import WorkClass
from runtime.dead_letters import DeadLetters
from runtime.kafka.aiokafka_internals import NOTHING, coordinator_problem
from runtime.kafka.client_lifecycle import ConsumerDied, close_consumer, start_consumer
from runtime.kafka.clients import build_consumer
from runtime.kafka.codec import UnreadableMessage, decode
from runtime.lifecycle.background import Background
from runtime.logs import log
from runtime.metrics import ConsumerMetrics
from runtime.settings import KafkaSettings
from runtime.waiting import wait_for_event

_READ_AT_ONCE = 200
"""Maximum number of messages of one partition that are read before the event loop runs other tasks."""


class ConcurrentConsumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Gives the messages of a topic to `handler`, many at the same time; see the module for the guarantee.

    The member that owns a partition of the topic owns the same partition of its `followers`, which have the same keys.
    So one process at a time handles all messages of a lane.

    If a handler raises, it is called again; after the last attempt the message becomes a dead letter, so that a bug
    does not block a partition. If a handler is cancelled (at a stop), its message is not finished. The messages of a
    lane start in order within their class; `LaneQueue` has the rules between the classes.

    A slow lane never delays the reading of its partition, because all messages are read at once and wait in memory. If
    there are rules for `superseding`, a newer message replaces the waiting one with the same key, so that the memory is
    bounded by the number of keys. A superseded message is finished when `superseding.report` has returned.
    """

    def __init__(  # noqa: PLR0913 -- each argument is an independent part
        self,
        settings: KafkaSettings,
        topic: Topic,
        *,
        followers: Sequence[Topic] = (),
        group: str,
        handler: Handler,
        dead_letters: DeadLetters,
        metrics: ConsumerMetrics,
        limits: InFlightLimits | None = None,
        work_class_of: Callable[[Event], WorkClass] = lambda _: WorkClass.SCHEDULED,
        superseding: Superseding | None = None,
        membership: MembershipFence | None = None,
    ) -> None:
        self._settings, self._topic, self._group, self._metrics = settings, topic, group, metrics
        self._topics = co_partitioned(settings, (topic, *followers))
        self._limits, self._dead_letters = limits or InFlightLimits(), dead_letters
        self._attempts = Attempts(
            handler,
            dead_letters,
            attempts=self._limits.attempts,
            initial_wait=self._limits.retry_initial_wait,
            on_retry=metrics.retries.labels(group).inc,
        )
        self._monitor, self._retention = ConsumerMonitor(group, metrics), RetentionCheck(group, metrics)
        self.liveness, self.readiness = self._monitor.liveness, self._monitor.readiness
        self._trackers: dict[TopicPartition, PartitionTracker] = {}
        self._messages = InFlightMessages(self._message_ended, self._message_failed)
        self._work_class_of, self._superseding = work_class_of, superseding or Superseding()
        self._lanes = LaneQueue[WaitingMessage](
            shared=self._limits.in_flight,
            per_lane=self._limits.per_lane,
            reserved=self._limits.reserved_per_lane,
            background=self._limits.background_per_lane,
        )
        self._capacity_changed, self._stopping = asyncio.Event(), asyncio.Event()
        self._commits, self._membership = RebalanceSafeCommits(), membership or MembershipFence.of(settings)
        self._turn = 0
        self._consumer: AIOKafkaConsumer | None = None
        self._failure: asyncio.Future[None]  # fails if a message can neither be handled nor become a dead letter

    # -- for the worker ------------------------------------------------------------------------------------------

    def background(self) -> Background:
        """The task for the worker, with its health checks."""
        return Background(f"consumer of {self._topic.name}", self.run, self.stop, self.liveness, self.readiness)

    @property
    def in_flight(self) -> int:
        """Number of messages that are being handled."""
        return len(self._messages)

    async def stop(self) -> None:
        """Read no more messages. `run` then finishes those in flight, commits and returns."""
        self._stopping.set()

    async def run(self) -> None:
        """Consume until stopped. Raises if the consumer fails permanently."""
        consumer = await start_consumer(self._build, self._stopping, group=self._group)
        if consumer is None:
            return
        self._consumer = consumer
        self._monitor.attach(consumer)
        self._membership.attach(consumer)
        consumer.subscribe(list(self._topics), listener=self)
        polling = asyncio.create_task(self._poll_loop(consumer), name=f"poll {self._topic.name}")
        committing = asyncio.create_task(self._commit_loop(consumer), name=f"commit {self._topic.name}")
        stopping = asyncio.create_task(self._stopping.wait())
        self._failure = asyncio.get_running_loop().create_future()
        try:
            ends: list[asyncio.Future[Any]] = [polling, committing, stopping, self._failure]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            polling.cancel()
            await asyncio.wait([polling])
            if stopping.done():
                await self._messages.drain(set(self._trackers), self._limits.drain_on_stop)
            for end in ends:
                if end.done() and not end.cancelled():
                    end.result()
        finally:
            self._stopping.set()
            for end in ends:
                end.cancel()
            await self._messages.finish_dead_letters(self._dead_letters)
            await self._messages.cancel_all()
            await self._commit(consumer, set(consumer.assignment()))
            await close_consumer(consumer)

    # -- group membership: aiokafka's coordinator calls these; heartbeats continue meanwhile ------------------------

    @override
    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Called before JoinGroup is sent. The old generation may commit only until this returns."""
        self._commits.close()
        self._monitor.revoked()
        if self._consumer is not None and revoked:
            # If the group has removed this member, others own its partitions already: it must not finish anything.
            seconds = self._limits.drain_on_revoke if self._membership.is_fresh() else 0.0
            await self._messages.drain(revoked, seconds)
            await self._commit(self._consumer, revoked, leaving=True)

    @override
    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Continue with partitions that were assigned again. Drop those that another member owns now: it handles their
        messages again, and both must not do so at the same time.
        """
        assigned = owned_of(assigned, self._topics)
        self._drop_partitions(self._trackers.keys() - assigned)
        self._membership.joined()
        assert self._consumer is not None  # noqa: S101 -- the consumer calls this method
        if (stored := await self._commits.stored(self._consumer, assigned)) is not None:
            await self._retention.on_assigned(self._consumer, stored)
            stored = dict.fromkeys(assigned, (0, "")) | stored
            # A commit above our watermark: this process was stalled and another member went on. Our commit would
            # rewind the group. A commit below our last one: the topic was recreated and its offsets restarted.
            last, trackers = self._commits.last, self._trackers.items()
            self._drop_partitions(
                {each for each, mine in trackers if not (last(each) or 0) <= stored[each][0] <= (mine.watermark or 0)}
            )
        for partition, tracker in self._trackers.items():
            if tracker.position is not None:  # aiokafka would read again from the watermark, which may be far behind
                self._consumer.seek(partition, tracker.position)
        for partition in assigned - self._trackers.keys():
            self._trackers[partition] = PartitionTracker()
            if stored is not None:
                self._trackers[partition].restore(*stored[partition])
        # Remove the waiting messages of dropped partitions; keep those of partitions that were assigned again.
        self._lanes.keep_only(lambda each: self._trackers.get(each.partition) is each.tracker)
        self._monitor.assigned()
        self._commits.open()
        self._start_waiting()
        log.info("Partitions assigned", action="assigned", group=self._group, partitions=len(assigned))

    def _drop_partitions(self, lost: set[TopicPartition]) -> None:
        self._trackers = {each: tracker for each, tracker in self._trackers.items() if each not in lost}
        self._messages.cancel(lost)

    # -- polling -----------------------------------------------------------------------------------------------------

    def _build(self) -> AIOKafkaConsumer:
        # Sticky: only some partitions move to a new member. The others keep their exchange clients and rate budgets.
        return build_consumer(
            self._settings,
            group=self._group,
            client_id=self._group,
            partition_assignment_strategy=(assignor_of(self._topics),),
        )

    async def _poll_loop(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            self._monitor.poll_started()
            try:
                await self._poll(consumer)
            except (KafkaError, IllegalStateError) as error:
                if (problem := coordinator_problem(consumer)) is not None:
                    raise ConsumerDied(f"{self._topic.name}: {problem}") from error
                log.warning("Poll failed, trying again", action="poll_failed", error=repr(error))
                await asyncio.sleep(1)
            finally:
                self._monitor.poll_ended()
            await asyncio.sleep(0)  # a poll that returns buffered records does not let other tasks run

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        """Read from each partition as many messages as its limit allows. `pause()` is not used: it discards prefetched
        records. If nothing may be read, it polls nevertheless, because a poll raises the group's errors.
        """
        if not self._commits.is_open:
            await consumer.getmany(NOTHING, timeout_ms=10)
            return
        assigned = sorted(owned_of(consumer.assignment(), self._topics))
        capacities = {partition: free for partition in assigned if (free := self._capacity_of(partition)) > 0}
        if not assigned or not capacities:
            await consumer.getmany(NOTHING, timeout_ms=0 if assigned else 200)
            await self._wait_for_capacity()
            return
        self._turn += 1
        taken, first = 0, self._turn % len(capacities)
        for partition in [*capacities][first:] + [*capacities][:first]:  # each turn starts with another partition
            allowed = min(capacities[partition], _READ_AT_ONCE)
            taken += self._dispatch(await consumer.getmany(partition, timeout_ms=0, max_records=allowed))
        if not taken:
            # Poll briefly if a partition is at its limit, so that its reading continues soon after messages finish.
            timeout_ms = 200 if len(capacities) == len(assigned) else 20
            self._dispatch(await consumer.getmany(*capacities, timeout_ms=timeout_ms, max_records=1))

    def _capacity_of(self, partition: TopicPartition) -> int:
        if self._messages.reports >= self._limits.max_reports:
            return 0
        return self._limits.max_unfinished - self._unfinished(partition)

    def _unfinished(self, partition: TopicPartition) -> int:
        return self._trackers[partition].unfinished if partition in self._trackers else 0

    async def _wait_for_capacity(self) -> None:
        self._capacity_changed.clear()
        await wait_for_event(self._capacity_changed, 1.0)

    def _dispatch(self, batches: dict[TopicPartition, list[ConsumerRecord]]) -> int:
        """Start or queue each record that is not in flight yet. Returns the number of all records in `batches`."""
        for partition, records in batches.items():
            tracker = self._trackers.setdefault(partition, PartitionTracker())
            for record in records:
                if tracker.start(record.offset):
                    self._admit(tracker, partition, record)
        return sum(len(records) for records in batches.values())

    def _admit(self, tracker: PartitionTracker, partition: TopicPartition, record: ConsumerRecord) -> None:
        """Start or queue a readable message. An unreadable message becomes a dead letter at once and takes no place."""
        try:
            event = self._read(record)
        except UnreadableMessage as unreadable:
            sending = self._dead_letters.send_unreadable(record, unreadable.reason)
            self._messages.start(InFlightMessage(tracker, partition, record.offset, None), sending)
            return
        self._dead_letters.readable(record)
        lane, work_class = record.key or partition, self._work_class_of(event)
        if self._lanes.has_place(lane, work_class):
            self._lanes.add(lane, WaitingMessage(tracker, partition, record, event), work_class)
        else:
            self._queue(lane, WaitingMessage(tracker, partition, record, None), event, work_class)
        self._start_waiting()

    def _queue(self, lane: Hashable, message: WaitingMessage, event: Event, work_class: WorkClass) -> None:
        """Let the message wait in its lane. If one with the same key waits there already, one of both is superseded."""
        key = self._superseding.key(event)
        waiting = None if key is None else self._lanes.waiting(lane, key)
        if waiting is None:
            self._lanes.add(lane, message, work_class, key=key)
            return
        remaining, newer, ended = supersede(waiting, message, event, self._superseding, self._read)
        self._lanes.replace(lane, key, remaining, self._work_class_of(newer))
        for each, superseded in ended:
            report = self._report_superseded(superseded, each.record, newer)
            self._messages.start(InFlightMessage(each.tracker, each.partition, each.record.offset, None), report)

    def _report_superseded(self, superseded: Event, record: ConsumerRecord, newer: Event) -> Coroutine[Any, Any, None]:
        return self._attempts.handle(superseded, record, lambda event, _: self._superseding.report(event, newer))

    def _read(self, record: ConsumerRecord) -> Event:
        return decode(self._topics[record.topic], record.value)

    # -- messages ----------------------------------------------------------------------------------------------------

    def _start_waiting(self) -> None:
        """Start as many waiting messages as there are places, except during a rebalance and after a stop."""
        while (
            self._commits.is_open and not self._stopping.is_set() and (started := self._lanes.start_next()) is not None
        ):
            place, (tracker, partition, record, event, merged) = started
            merged_offsets = tuple(each.record.offset for each in merged)
            message = InFlightMessage(tracker, partition, record.offset, place, merged_offsets)
            self._messages.start(message, self._handle(event or self._read(record), record, merged))
        self._metrics.in_flight.labels(self._group).set(len(self._messages))

    async def _handle(self, event: Event, record: ConsumerRecord, merged: tuple[WaitingMessage, ...]) -> None:
        await self._attempts.handle(event, record)
        for each in merged:
            await self._report_superseded(self._read(each.record), each.record, event)

    def _message_ended(self, message: InFlightMessage) -> None:
        if message.place is not None:
            self._lanes.release(message.place)
        self._start_waiting()
        self._capacity_changed.set()

    def _message_failed(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)

    # -- commits -----------------------------------------------------------------------------------------------------

    async def _commit_loop(self, consumer: AIOKafkaConsumer) -> None:
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
