"""A model of one lane: messages arrive, start, finish, and the process crashes. No work is lost; memory is bounded."""

from collections import defaultdict
from collections.abc import Hashable

from aiokafka import ConsumerRecord, TopicPartition
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from typing_extensions import override

from contracts.event import Event
from runtime.consumers.lane_queue import LaneQueue, Place
from runtime.consumers.offset_tracker import PartitionTracker
from runtime.consumers.superseding import Superseded, Superseding, WaitingMessage, supersede
from runtime.consumers.work_class import WorkClass
from support.consuming import NOON, a_tick
from support.records import a_record

ZERO = TopicPartition("ticks", 0)


class Work(Event):
    """Work of one key: it reads each of several series from a start to now."""

    owner: str
    slot: int
    starts: tuple[int, ...]

    @override
    def key(self) -> str:
        return self.owner


def newer_slot(event: Event, than: Event) -> bool:
    assert isinstance(event, Work)
    assert isinstance(than, Work)
    return event.slot > than.slot


def earlier_starts(newer: Event, older: Event) -> Event:
    assert isinstance(newer, Work)
    assert isinstance(older, Work)
    return newer.model_copy(update={"starts": tuple(map(min, newer.starts, older.starts))})


RULES = Superseding(key=lambda event: event.key(), is_newer=newer_slot, merge=earlier_starts)


class Log:
    """A partition that is read from Kafka."""

    def __init__(self) -> None:
        self.works: list[Work] = []

    def append(self, work: Work) -> None:
        self.works.append(work)

    def message(self, offset: int, tracker: PartitionTracker) -> WaitingMessage:
        return WaitingMessage(tracker, ZERO, a_record(offset=offset), None)

    def read(self, record: ConsumerRecord) -> Work:
        return self.works[int(record.offset)]


def work(slot: int, *starts: int, owner: str = "a") -> Work:
    return Work(occurred_at=NOON, owner=owner, slot=slot, starts=starts)


def superseded(*works: Work) -> tuple[Log, Superseded]:
    """Let the works of one key arrive one after the other."""
    log, tracker = Log(), PartitionTracker()
    log.append(works[0])
    result = Superseded(log.message(0, tracker), works[0], ())
    for offset, each in enumerate(works[1:], 1):
        log.append(each)
        result = supersede(result.remaining, log.message(offset, tracker), each, RULES, log.read)
    return log, result


def test_a_newer_message_replaces_the_waiting_one_which_can_end_at_once() -> None:
    _, (remaining, event, ended) = superseded(work(1, 10), work(2, 10))
    assert (remaining.record.offset, remaining.event, remaining.merged) == (1, None, ())
    assert event == work(2, 10).model_copy(update={"event_id": event.event_id})
    assert [message.record.offset for message, _ in ended] == [0]


def test_an_older_message_that_arrives_later_does_not_replace_a_newer_one() -> None:
    _, (remaining, _, ended) = superseded(work(2, 10), work(1, 10))
    assert remaining.record.offset == 0
    assert [message.record.offset for message, _ in ended] == [1]


def test_an_earlier_start_is_merged_and_its_message_is_not_finished_before() -> None:
    _, (remaining, _, ended) = superseded(work(1, 10), work(2, 20))
    assert isinstance(remaining.event, Work)
    assert (remaining.event.slot, remaining.event.starts) == (2, (10,))
    assert [each.record.offset for each in remaining.merged] == [0]
    assert ended == ()


def test_only_messages_that_are_needed_stay_merged() -> None:
    _, (remaining, _, ended) = superseded(work(1, 10), work(2, 20), work(3, 30))
    assert [each.record.offset for each in remaining.merged] == [0]
    assert [message.record.offset for message, _ in ended] == [1]
    _, (remaining, _, ended) = superseded(work(1, 10), work(2, 20), work(3, 5))
    assert (remaining.event, remaining.merged) == (None, ())
    assert [message.record.offset for message, _ in ended] == [0, 1]


class Lane(RuleBasedStateMachine):
    """Works of a few keys wait for one place. The model remembers only what every published work has to read.

    A series of a work is done when a handled event of the same key, which started after the work was published, has
    read it from the same start or earlier. Several events may do the series of one work.
    """

    SERIES = 3

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()
        self.committed = (0, "")
        self.undone: set[tuple[int, int]] = set()  # offsets of works, and their series
        self.slot = 0
        self.start_process()

    def start_process(self) -> None:
        """Read the partition again from the last commit."""
        self.tracker = PartitionTracker()
        self.tracker.restore(*self.committed)
        self.queue = LaneQueue[WaitingMessage](shared=1, per_lane=1)
        self.running: tuple[WaitingMessage, Work] | None = None
        self.reports: list[WaitingMessage] = []
        for offset in range(self.committed[0], len(self.log.works)):
            self.arrive(offset)

    def arrive(self, offset: int) -> None:
        if not self.tracker.start(offset):
            return
        arrived, event = self.log.message(offset, self.tracker), self.log.works[offset]
        if (waiting := self.queue.waiting("lane", event.owner)) is None:
            self.queue.add("lane", arrived, key=event.owner)
        else:
            remaining, _, ended = supersede(waiting, arrived, event, RULES, self.log.read)
            self.queue.replace("lane", event.owner, remaining)
            self.reports += [message for message, _ in ended]
        self.start_next()

    def start_next(self) -> None:
        if (started := self.queue.start_next()) is not None:
            message = started[1]
            event = message.event or self.log.read(message.record)
            assert isinstance(event, Work)
            self.running, self.published_before = (message, event), len(self.log.works)

    @rule(
        owner=st.sampled_from("abc"),
        starts=st.tuples(*[st.integers(0, 5)] * SERIES),
        late=st.integers(0, 3),
    )
    def publish(self, owner: str, starts: tuple[int, ...], late: int) -> None:
        self.slot += 1
        self.log.append(work(self.slot - late, *starts, owner=owner))
        offset = len(self.log.works) - 1
        self.undone |= {(offset, series) for series in range(self.SERIES)}
        self.arrive(offset)

    @precondition(lambda self: self.running is not None)
    @rule()
    def finish(self) -> None:
        assert self.running is not None
        (message, event), self.running = self.running, None
        self.undone -= {
            (offset, series)
            for offset, series in self.undone
            if offset < self.published_before
            and self.log.works[offset].owner == event.owner
            and event.starts[series] <= self.log.works[offset].starts[series]
        }
        self.tracker.finish(message.record.offset)
        for each in message.merged:
            self.tracker.finish(each.record.offset)
        self.queue.release(Place("lane", WorkClass.SCHEDULED))
        self.start_next()

    @precondition(lambda self: self.reports)
    @rule(data=st.data())
    def acknowledge_a_report(self, data: st.DataObject) -> None:
        message = self.reports.pop(data.draw(st.integers(0, len(self.reports) - 1)))
        self.tracker.finish(message.record.offset)

    @rule()
    def commit(self) -> None:
        self.committed = self.tracker.snapshot() or self.committed

    @rule()
    def crash(self) -> None:
        self.start_process()

    @invariant()
    def memory_is_bounded_by_keys(self) -> None:
        merged = defaultdict[Hashable, int](int)
        for lane in self.queue._lanes.values():
            assert not lane.waiting[WorkClass.REQUESTED]
            assert len(lane.waiting[WorkClass.SCHEDULED]) <= 3
            for key, message in lane.waiting[WorkClass.SCHEDULED].items():
                merged[key] += len(message.merged)
        assert all(count <= self.SERIES for count in merged.values())
        running = 0 if self.running is None else 1 + len(self.running[0].merged)
        waiting = len(self.queue) + sum(merged.values())
        assert self.tracker.unfinished == running + waiting + len(self.reports)

    @override
    def teardown(self) -> None:
        """Once everything has ended, a new owner finds all work done."""
        self.crash()
        while self.running is not None:
            self.finish()
        for message in self.reports:
            self.tracker.finish(message.record.offset)
        assert self.tracker.unfinished == 0
        assert self.undone == set()


Lane.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestLane = Lane.TestCase


def test_a_replaced_item_keeps_its_place_so_that_frequent_replacements_delay_no_key() -> None:
    queue = LaneQueue[int](shared=1, per_lane=1)
    queue.add("lane", 0)
    queue.start_next()
    for key in ("a", "b", "c"):
        queue.add("lane", 1, key=key)
    for number in range(2, 50):
        queue.replace("lane", "a", number)
        queue.replace("lane", "c", -number)
    starts = []
    while len(queue):
        queue.release(Place("lane", WorkClass.SCHEDULED))
        starts.append((queue.start_next() or ("", 0))[1])
    assert starts == [49, 1, -49]


def test_by_default_no_message_is_superseded() -> None:
    assert Superseding().key(a_tick()) is None
