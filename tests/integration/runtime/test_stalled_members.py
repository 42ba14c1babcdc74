"""Members of a consumer group that the group has removed, because they were stalled, or that cannot know it."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from aiokafka import ConsumerRecord
from typing_extensions import override

from contracts.event import Event
from contracts.topics import TICKS
from runtime.consumers.concurrent import ConcurrentConsumer
from runtime.consumers.membership_fence import MembershipFence
from runtime.kafka.publisher import EventPublisher
from runtime.settings import KafkaSettings
from support.concurrent_consumers import QUICK, consumer_of, recording_in, running
from support.consuming import Equipment, committed, number_of, ticks
from support.polling import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.real_kafka]


class UncertainFence(MembershipFence):
    is_certain = True

    @override
    def is_fresh(self) -> bool:
        return self.is_certain and super().is_fresh()


async def test_a_member_that_the_group_may_have_removed_finishes_nothing_before_it_joins_again(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    """The next owner handles these messages already."""
    membership, started, taken_over = UncertainFence(60), asyncio.Event(), asyncio.Event()

    async def never_finish(_event: Event, _record: ConsumerRecord) -> None:
        started.set()
        await asyncio.Event().wait()

    async def take_over(_event: Event, _record: ConsumerRecord) -> None:
        taken_over.set()

    patient = replace(QUICK, drain_on_revoke=60)
    await publisher.publish_many(TICKS, ticks(range(1, 41), lanes=20))
    async with running(consumer_of(kafka_settings, equipment, never_finish, patient, membership)):
        await asyncio.wait_for(started.wait(), 30)
        assert membership.is_fresh()
        membership.is_certain = False
        async with running(consumer_of(kafka_settings, equipment, take_over)):
            await asyncio.wait_for(taken_over.wait(), 30)


async def test_a_stalled_member_does_not_rewind_the_commits_of_another(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    stalled, resume = threading.Event(), threading.Event()
    one: list[int] = []
    two: list[int] = []

    async def stall_at_forty(event: Event, _record: ConsumerRecord) -> None:
        if number_of(event) == 40:
            stalled.set()
            resume.wait(60)  # blocks its event loop, with the heartbeats
        elif number_of(event) <= 80 and stalled.is_set():
            await asyncio.Event().wait()  # messages that the other member handled never finish here
        one.append(number_of(event))

    async def all_committed(total: int) -> bool:
        commits = await committed(kafka_settings, "collector", TICKS)
        assert sum(offset for offset, _ in commits.values()) == total, commits
        return True

    async def publish(numbers: range, lanes: int) -> None:
        await publisher.publish_many(TICKS, ticks(numbers, lanes=lanes))

    first = consumer_of(kafka_settings, equipment, stall_at_forty)
    with in_a_thread(first):
        await publish(range(1, 40), lanes=20)
        await eventually(lambda: all_committed(39), within=20)
        await publish(range(40, 41), lanes=20)
        await eventually(stalled.is_set)
        async with running(consumer_of(kafka_settings, Equipment(publisher), recording_in(two))):
            await publish(range(41, 81), lanes=20)
            await eventually(lambda: all_committed(80), within=60)
            resume.set()
            numbers = itertools.count(81)

            async def first_works_again() -> bool:
                number = next(numbers)
                await publish(range(number, number + 1), lanes=5)
                return max(one) > 80

            await eventually(first_works_again, within=60, every=0.2)
            await eventually(lambda: all_committed(max(one + two)), within=10)


@contextmanager
def in_a_thread(consumer: ConcurrentConsumer) -> Iterator[None]:
    """Run the consumer in a thread with its own event loop, which a test may block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(consumer.run()), daemon=True)
    thread.start()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(consumer.stop(), loop)
        thread.join(30)
        loop.close()
