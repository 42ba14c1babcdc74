import asyncio

import pytest
from aiokafka import TopicPartition
from prometheus_client import CollectorRegistry
from typing_extensions import override

from contracts.event import Event
from contracts.topics import Topic
from runtime.consumers.in_flight import InFlightMessage, InFlightMessages
from runtime.consumers.lane_queue import Place
from runtime.consumers.offset_tracker import PartitionTracker
from runtime.consumers.work_class import WorkClass
from runtime.dead_letters import DeadLetters
from runtime.metrics import ConsumerMetrics
from support.polling import eventually
from support.records import InMemoryPublisher, a_record

ZERO, ONE = TopicPartition("ticks", 0), TopicPartition("ticks", 1)

PLACE = Place("binance", WorkClass.SCHEDULED)


class Recorded:
    """Messages in flight, with the calls that they make."""

    def __init__(self) -> None:
        self.ended: list[int] = []
        self.errors: list[BaseException] = []
        self.may_finish = asyncio.Event()
        self.messages = InFlightMessages(lambda message: self.ended.append(message.offset), self.errors.append)
        self.tracker = PartitionTracker()

    def start(
        self, offset: int, partition: TopicPartition = ZERO, *, place: Place | None = PLACE, fails: bool = False
    ) -> None:
        async def handle() -> None:
            await self.may_finish.wait()
            if fails:
                raise RuntimeError("no dead letter either")

        self.tracker.start(offset)
        self.messages.start(InFlightMessage(self.tracker, partition, offset, place), handle())


@pytest.fixture
async def recorded() -> Recorded:
    return Recorded()


async def test_a_message_is_finished_when_its_task_ends(recorded: Recorded) -> None:
    recorded.start(1)
    recorded.start(2)
    assert len(recorded.messages) == 2
    recorded.may_finish.set()
    await recorded.messages.drain({ZERO}, 5)
    await eventually(lambda: recorded.ended == [1, 2])
    assert (len(recorded.messages), recorded.tracker.watermark, recorded.errors) == (0, 3, [])


async def test_a_failed_task_is_reported_and_leaves_its_message_unfinished(recorded: Recorded) -> None:
    recorded.start(1, fails=True)
    recorded.may_finish.set()
    await eventually(lambda: recorded.ended == [1])
    assert [str(error) for error in recorded.errors] == ["no dead letter either"]
    assert recorded.tracker.watermark == 1


async def test_only_messages_of_the_lost_partitions_are_cancelled_and_no_dead_letters(recorded: Recorded) -> None:
    recorded.start(1)
    recorded.start(2, ONE)
    recorded.start(3, place=None)
    recorded.messages.cancel({ZERO})
    await eventually(lambda: recorded.ended == [1])
    assert (recorded.tracker.watermark, recorded.errors) == (1, [])
    recorded.may_finish.set()
    await eventually(lambda: recorded.ended == [1, 2, 3])
    assert recorded.tracker.unfinished == 1


@pytest.mark.parametrize("place", [None, PLACE], ids=["unreadable", "failed"])
async def test_a_dead_letter_that_is_being_sent_is_awaited_and_other_messages_are_not(
    recorded: Recorded, place: Place | None
) -> None:
    class SlowPublisher(InMemoryPublisher):
        @override
        async def publish(self, topic: Topic, event: Event) -> None:
            await recorded.may_finish.wait()
            await super().publish(topic, event)

    sent = SlowPublisher()
    dead_letters = DeadLetters(sent, "collector", ConsumerMetrics(CollectorRegistry()))
    recorded.start(1)
    await asyncio.wait_for(recorded.messages.finish_dead_letters(dead_letters), 5)
    record = a_record(offset=2)
    dead_letters.readable(record)
    sending = InFlightMessage(recorded.tracker, ZERO, 2, place)
    recorded.messages.start(sending, dead_letters.send(record, "failed"))
    finishing = asyncio.create_task(recorded.messages.finish_dead_letters(dead_letters))
    await asyncio.sleep(0)
    assert not finishing.done()
    recorded.may_finish.set()
    await asyncio.wait_for(finishing, 5)
    assert len(sent.events) == 1
    assert not dead_letters.is_sending(ZERO, 2)


async def test_cancelled_messages_stay_unfinished(recorded: Recorded) -> None:
    recorded.start(1)
    recorded.start(2, place=None)
    await recorded.messages.cancel_all()
    assert len(recorded.messages) == 0
    assert (recorded.tracker.watermark, recorded.tracker.unfinished, recorded.errors) == (1, 2, [])


async def test_a_drain_ends_at_its_timeout(recorded: Recorded) -> None:
    recorded.start(1)
    await recorded.messages.drain({ZERO}, 0.01)
    assert len(recorded.messages) == 1
    await recorded.messages.drain({ONE}, 5)
    await recorded.messages.cancel_all()
