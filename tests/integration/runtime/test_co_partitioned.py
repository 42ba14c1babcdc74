"""A consumer of ticks and of range requests: one member at a time handles both of a lane."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from typing_extensions import override

from contracts.event import Event
from contracts.ranges import RangeDue
from contracts.topics import RANGE_REQUESTS, TICKS
from runtime.consumers.concurrent import ConcurrentConsumer
from runtime.consumers.limits import InFlightLimits
from runtime.kafka.clients import build_consumer
from runtime.kafka.publisher import EventPublisher
from runtime.settings import KafkaSettings
from support.consuming import Equipment, a_range, a_tick, committed, number_of
from support.polling import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.real_kafka]  # the in-memory broker races when several members join

QUICK = InFlightLimits(commit_interval=0.1, drain_on_revoke=0.5, drain_on_stop=0.5)
LANES = 40


class OldConsumer(ConcurrentConsumer):
    """A collector of the release before: it reads ticks only, and assigns as aiokafka does."""

    @override
    def _build(self) -> AIOKafkaConsumer:
        assignor = type("Sticky", (StickyPartitionAssignor,), {})
        return build_consumer(
            self._settings, group=self._group, client_id=self._group, partition_assignment_strategy=(assignor,)
        )


class Member:
    """Records what it handles."""

    def __init__(self) -> None:
        self.ticks: dict[int, int] = {}
        """Number to partition."""
        self.ranges: dict[int, int] = {}
        self.repeated = 0

    async def handle(self, event: Event, record: ConsumerRecord) -> None:
        handled = self.ranges if isinstance(event, RangeDue) else self.ticks
        self.repeated += number_of(event) in handled
        handled[number_of(event)] = record.partition

    def owned(self, topic: str) -> set[int]:
        """The partitions of a topic that it reads."""
        return {each.partition for each in self.consumer._trackers if each.topic.endswith(topic)}

    @asynccontextmanager
    async def running(
        self, settings: KafkaSettings, publisher: EventPublisher, *, old: bool = False
    ) -> AsyncIterator["Member"]:
        equipment = Equipment(publisher)
        self.consumer = (OldConsumer if old else ConcurrentConsumer)(
            settings,
            TICKS,
            followers=() if old else (RANGE_REQUESTS,),
            group="collector",
            handler=self.handle,
            dead_letters=equipment.dead_letters,
            metrics=equipment.metrics,
            limits=QUICK,
        )
        task = asyncio.create_task(self.consumer.run())
        try:
            yield self
        finally:
            await self.consumer.stop()
            await task


class Published:
    """Publishes a tick and a range request for each lane, with the same numbers."""

    def __init__(self, publisher: EventPublisher) -> None:
        self._publisher, self._numbers = publisher, itertools.count(1)
        self.all: set[int] = set()

    async def for_each_lane(self) -> set[int]:
        lanes = [(next(self._numbers), f"binance#{lane}") for lane in range(LANES)]
        await self._publisher.publish_many(RANGE_REQUESTS, [a_range(number, lane=lane) for number, lane in lanes])
        await self._publisher.publish_many(TICKS, [a_tick(number, lane=lane) for number, lane in lanes])
        numbers = {number for number, _ in lanes}
        self.all |= numbers
        return numbers


async def share_all_partitions(*members: Member) -> None:
    """Wait until these members together own each partition of both topics once, in equal numbers."""

    def is_settled() -> bool:
        ticks = [each.owned("ticks") for each in members]
        assert [each.owned("range-requests") for each in members] == ticks
        assert all(ticks), ticks
        return sorted(itertools.chain(*ticks)) == list(range(TICKS.partitions))

    await eventually(is_settled, within=40)


async def check_lanes(published: Published, members: Iterable[Member]) -> None:
    """Publish for each lane. The member that handles its tick handles its range request."""
    numbers = await published.for_each_lane()

    def all_handled() -> bool:
        for handled in ([each.ticks for each in members], [each.ranges for each in members]):
            assert set(itertools.chain(*handled)) >= numbers
        return True

    await eventually(all_handled, within=20)
    for member in members:
        assert numbers & member.ticks.keys() == numbers & member.ranges.keys()
        assert all(member.ticks[number] == member.ranges[number] for number in numbers & member.ticks.keys())


async def test_both_topics_of_a_lane_stay_with_one_member_while_others_join_and_leave(
    kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    published, one, two = Published(publisher), Member(), Member()
    async with one.running(kafka_settings, publisher):
        await check_lanes(published, [one])
        async with two.running(kafka_settings, publisher):
            await share_all_partitions(one, two)
            await check_lanes(published, [one, two])
            await check_lanes(published, [one, two])
        await share_all_partitions(one)
        await check_lanes(published, [one])
    assert set(one.ranges) | set(two.ranges) == set(one.ticks) | set(two.ticks) == published.all
    doubled = len(one.ranges) + len(two.ranges) + one.repeated + two.repeated - len(published.all)
    assert doubled <= len(published.all) * 0.05
    for topic in (TICKS, RANGE_REQUESTS):
        commits = await committed(kafka_settings, "collector", topic)
        assert sum(offset for offset, _ in commits.values()) == len(published.all), topic.name


async def test_during_a_rolling_upgrade_no_member_handles_range_requests_of_a_lane_that_it_does_not_own(
    kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    """The leader is a member of the release before. It gives all range requests to the only member that reads them."""
    published, old, new = Published(publisher), Member(), Member()
    async with new.running(kafka_settings, publisher):
        async with old.running(kafka_settings, publisher, old=True):
            await eventually(lambda: old.owned("ticks"), within=40)
        await share_all_partitions(new)
    async with old.running(kafka_settings, publisher, old=True):
        await eventually(lambda: len(old.owned("ticks")) == TICKS.partitions, within=40)
        async with new.running(kafka_settings, publisher):
            await eventually(lambda: new.consumer._consumer and new.consumer._consumer.assignment(), within=40)
            numbers = await published.for_each_lane()
            await eventually(lambda: old.ticks.keys() | new.ticks.keys() >= numbers, within=20)
            assert new.owned("range-requests") == new.owned("ticks") != set(range(TICKS.partitions))
            assert set(new.ranges.values()) <= new.owned("ticks")
            await old.consumer.stop()
            await share_all_partitions(new)
            await eventually(lambda: new.ranges.keys() == published.all, within=20)
            await check_lanes(published, [new])
    assert new.repeated == 0
