"""Messages that wait for a place in their lane. Requested ones start in turn with them, and unreadable ones overtake
them. The next owner handles them after a stop, and they never delay another lane of their partition.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
from aiokafka import ConsumerRecord

from contracts.dead_letters import DeadLetter
from contracts.event import Event
from contracts.ticks import TickDue
from contracts.topics import DEAD_LETTERS, TICKS
from runtime.consumers.concurrent import ConcurrentConsumer
from runtime.consumers.limits import InFlightLimits
from runtime.consumers.superseding import Superseding
from runtime.consumers.work_class import WorkClass
from runtime.dead_letters import DeadLetters
from runtime.kafka.clients import topic_name
from runtime.kafka.publisher import EventPublisher
from runtime.settings import DeadLetterSettings, KafkaSettings
from support.concurrent_consumers import running
from support.consuming import Equipment, a_tick, committed, number_of, ticks
from support.kafka import recording
from support.polling import eventually

pytestmark = pytest.mark.kafka

ONE_AT_A_TIME = InFlightLimits(in_flight=1, per_lane=1, commit_interval=0.1, drain_on_stop=0.5)


class Worker:
    """Its handler waits until the test allows it to finish."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.may_finish = asyncio.Event()

    async def handle(self, event: Event, _record: ConsumerRecord) -> None:
        self.started.append(number_of(event))
        await self.may_finish.wait()

    @asynccontextmanager
    async def consuming(
        self,
        settings: KafkaSettings,
        equipment: Equipment,
        work_class_of: Callable[[Event], WorkClass] = lambda _: WorkClass.SCHEDULED,
        superseding: Superseding | None = None,
        limits: InFlightLimits = ONE_AT_A_TIME,
    ) -> AsyncIterator[ConcurrentConsumer]:
        consumer = ConcurrentConsumer(
            settings,
            TICKS,
            group="collector",
            handler=self.handle,
            dead_letters=equipment.dead_letters,
            metrics=equipment.metrics,
            limits=limits,
            work_class_of=work_class_of,
            superseding=superseding,
        )
        async with running(consumer):
            yield consumer


async def test_requested_messages_start_in_turn_with_the_others(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    worker = Worker()
    of_ticks = {"consumer": "collector", "topic": topic_name(kafka_settings, TICKS)}

    def waiting() -> float:
        return equipment.registry.get_sample_value("candlekeep_consumer_waiting", {"consumer": "collector"}) or 0

    await publisher.publish_many(TICKS, ticks(range(1, 101)))

    def work_class_of(event: Event) -> WorkClass:
        return WorkClass.REQUESTED if number_of(event) >= 500 else WorkClass.SCHEDULED

    async with worker.consuming(kafka_settings, equipment, work_class_of):
        await eventually(lambda: waiting() == 99, within=20)
        lag = [
            equipment.registry.get_sample_value("candlekeep_consumer_lag", {**of_ticks, "partition": str(number)}) or 0
            for number in range(TICKS.partitions)
        ]
        assert sum(lag) == 100
        await publisher.publish_many(TICKS, ticks(range(500, 530)))
        await eventually(lambda: waiting() == 129, within=20)
        worker.may_finish.set()
        await eventually(lambda: len(worker.started) == 130, within=20)
    in_turn = [number for pair in zip(range(500, 530), range(2, 32), strict=True) for number in pair]
    assert worker.started == [1, *in_turn, *range(32, 101)]


async def test_an_unreadable_message_does_not_wait_for_a_place_in_a_full_lane(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    """The readable messages in between still count, so the unreadable ones are not in a row."""
    worker = Worker()
    limit = DeadLetterSettings(dead_letters_max_consecutive_at_start=3, dead_letters_max_consecutive=3)
    equipment.dead_letters = DeadLetters(publisher, "collector", equipment.metrics, limit)
    async with (
        recording(kafka_settings, DEAD_LETTERS) as recorder,
        worker.consuming(kafka_settings, equipment) as consumer,
    ):
        for number in range(1, 31):
            await publisher.publish(TICKS, a_tick(number))
            await publisher.publish_raw(TICKS, key="binance", value=b"{", headers={})
        await recorder.await_events(DeadLetter, 30, within=5)
        await eventually(lambda: consumer.in_flight == 1, within=5)
        assert worker.started == [1]
        worker.may_finish.set()
        await eventually(lambda: worker.started == [*range(1, 31)], within=20)


async def test_messages_that_wait_when_a_consumer_stops_are_handled_by_the_next_owner(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    first, second = Worker(), Worker()
    await publisher.publish_many(TICKS, ticks(range(1, 6)))
    async with first.consuming(kafka_settings, equipment):
        await eventually(lambda: first.started == [1], within=20)
    assert first.started == [1]
    second.may_finish.set()
    async with second.consuming(kafka_settings, equipment):
        await eventually(lambda: len(second.started) == 5, within=30)
    assert second.started == [1, 2, 3, 4, 5]


HEALTHY, DEAD = "coinbaseexchange", "binance"
"""Two lanes of one partition."""


async def partition_of_both(settings: KafkaSettings, publisher: EventPublisher) -> int:
    """The partition that the lanes share."""
    async with recording(settings, TICKS) as recorder:
        await publisher.publish_many(TICKS, [a_tick(1, lane=DEAD), a_tick(1, lane=HEALTHY)])
        await recorder.await_events(TickDue, 2, within=20)
        [partition] = {each.partition for each in recorder.records}
    return partition


@pytest.mark.real_kafka  # the in-memory broker has another partitioner
async def test_a_lane_is_not_delayed_by_three_thousand_waiting_messages_of_another_lane_of_its_partition(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    await partition_of_both(kafka_settings, publisher)
    started: list[int] = []

    async def handle(event: Event, _record: ConsumerRecord) -> None:
        if event.key() == DEAD:
            await asyncio.Event().wait()
        started.append(number_of(event))

    worker = Worker()
    worker.handle = handle  # type: ignore[method-assign]
    limits = InFlightLimits(in_flight=2, per_lane=2, reserved_per_lane=1, drain_on_stop=0.1)
    async with worker.consuming(kafka_settings, equipment, limits=limits):
        await publisher.publish_many(TICKS, [a_tick(number, lane=DEAD) for number in range(2, 3002)])
        for number in range(2, 7):
            await publisher.publish(TICKS, a_tick(number, lane=HEALTHY))
        await eventually(lambda: started == [1, 2, 3, 4, 5, 6], within=20)


@pytest.mark.real_kafka
async def test_a_lane_continues_beyond_one_slow_message_of_another_lane_of_its_partition(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    """Also after a restart: the finished messages are not handled again, although three thousand are above the slow
    one.
    """
    partition = await partition_of_both(kafka_settings, publisher)
    finished: list[int] = []

    async def handle(event: Event, _record: ConsumerRecord) -> None:
        if event.key() == DEAD:
            await asyncio.Event().wait()
        finished.append(number_of(event))

    worker = Worker()
    worker.handle = handle  # type: ignore[method-assign]
    limits = InFlightLimits(drain_on_stop=0.1)
    async with worker.consuming(kafka_settings, equipment, limits=limits):
        await publisher.publish_many(TICKS, [a_tick(number, lane=HEALTHY) for number in range(2, 3002)])
        await eventually(lambda: len(finished) == 3001, within=30)
    assert (await committed(kafka_settings, "collector", TICKS))[partition][0] == 0
    finished.clear()
    async with worker.consuming(kafka_settings, equipment, limits=limits):
        await publisher.publish(TICKS, a_tick(5000, lane=HEALTHY))
        await eventually(lambda: 5000 in finished, within=30)
    assert finished == [5000]


@pytest.mark.real_kafka
async def test_superseded_messages_are_reported_and_changes_of_the_owner_lose_no_work(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    """Ten keys get sixty messages each while their lane finishes nothing and four owners stop one after another. Then
    each message has been reported or handled, and its work was done from its start or earlier.
    """
    rng = random.Random(20_261_127)
    starts = {number: rng.randrange(100) for number in range(1, 601)}
    handled: list[tuple[int, int]] = []  # number and start
    reports: dict[int, int] = {}
    may_finish = asyncio.Event()

    def key_of(event: Event) -> int:
        return number_of(event) % 10

    def start_of(event: Event) -> int:
        assert isinstance(event, TickDue)
        return event.missed_slots

    def merge(newer: Event, older: Event) -> Event:
        earlier = min(start_of(newer), start_of(older))
        return newer if earlier == start_of(newer) else newer.model_copy(update={"missed_slots": earlier})

    async def report(superseded: Event, newer: Event) -> None:
        assert number_of(superseded) < number_of(newer)
        assert key_of(superseded) == key_of(newer)
        reports[number_of(superseded)] = number_of(newer)

    async def handle(event: Event, _record: ConsumerRecord) -> None:
        await may_finish.wait()
        handled.append((number_of(event), start_of(event)))

    rules = Superseding(
        key=key_of, is_newer=lambda event, than: number_of(event) > number_of(than), merge=merge, report=report
    )
    worker = Worker()
    worker.handle = handle  # type: ignore[method-assign]
    published = 0
    for _ in range(4):
        async with worker.consuming(kafka_settings, equipment, superseding=rules) as consumer:
            for _ in range(3):
                numbers = range(published + 1, published + 51)
                await publisher.publish_many(
                    TICKS, [a_tick(each).model_copy(update={"missed_slots": starts[each]}) for each in numbers]
                )
                published += 50
                await eventually(partial(reads_up_to, consumer, published), within=20)
                assert len(consumer._lanes) <= 10
            assert handled == []
    may_finish.set()
    async with worker.consuming(kafka_settings, equipment, superseding=rules):
        await eventually(lambda: {key for key, _ in handled} >= set(range(591, 601)), within=20)
    offsets = (await committed(kafka_settings, "collector", TICKS)).values()
    assert [offset for offset, _ in offsets] == [600]
    assert len(handled) < 30
    for number, start in starts.items():
        assert any(each % 10 == number % 10 and read <= start for each, read in handled), number
        assert number in reports or number in {each for each, _ in handled}


def reads_up_to(consumer: ConcurrentConsumer, offset: int) -> bool:
    return {tracker.position for tracker in consumer._trackers.values()} - {None} == {offset}
