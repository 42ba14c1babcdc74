"""Messages that wait for a place in their lane: urgent and unreadable ones overtake them, and the next owner handles
them after a stop.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka import ConsumerRecord

from contracts.dead_letters import DeadLetter
from contracts.event import Event
from contracts.topics import DEAD_LETTERS, TICKS
from runtime.consumers.concurrent import ConcurrentConsumer
from runtime.consumers.limits import InFlightLimits
from runtime.dead_letters import DeadLetters
from runtime.kafka.clients import topic_name
from runtime.kafka.publisher import EventPublisher
from runtime.settings import DeadLetterSettings, KafkaSettings
from support.consuming import Equipment, a_tick, number_of, ticks
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
        self, settings: KafkaSettings, equipment: Equipment, urgent: Callable[[Event], bool] = lambda _: False
    ) -> AsyncIterator[ConcurrentConsumer]:
        consumer = ConcurrentConsumer(
            settings,
            TICKS,
            group="collector",
            handler=self.handle,
            dead_letters=equipment.dead_letters,
            metrics=equipment.metrics,
            limits=ONE_AT_A_TIME,
            urgent=urgent,
        )
        task = asyncio.create_task(consumer.run())
        try:
            yield consumer
        finally:
            await consumer.stop()
            await task


async def test_an_urgent_message_is_the_next_to_start(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    worker = Worker()
    of_ticks = {"consumer": "collector", "topic": topic_name(kafka_settings, TICKS)}

    def waiting() -> float:
        return equipment.registry.get_sample_value("candlekeep_consumer_waiting", {"consumer": "collector"}) or 0

    await publisher.publish_many(TICKS, ticks(range(1, 101)))
    async with worker.consuming(kafka_settings, equipment, lambda event: number_of(event) == 500):
        await eventually(lambda: waiting() == 99, within=20)
        lag = [
            equipment.registry.get_sample_value("candlekeep_consumer_lag", {**of_ticks, "partition": str(number)}) or 0
            for number in range(TICKS.partitions)
        ]
        assert sum(lag) == 100
        await publisher.publish(TICKS, a_tick(500))
        await eventually(lambda: waiting() == 100, within=20)
        worker.may_finish.set()
        await eventually(lambda: len(worker.started) == 101, within=20)
    assert worker.started == [1, 500, *range(2, 101)]


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
