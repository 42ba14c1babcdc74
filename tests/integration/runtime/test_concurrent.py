import asyncio
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from contracts.dead_letters import DeadLetter
from contracts.event import Event
from contracts.topics import DEAD_LETTERS, TICKS
from runtime.consumers.batch import Tombstone
from runtime.consumers.limits import InFlightLimits
from runtime.kafka.client_lifecycle import ConsumerDied
from runtime.kafka.clients import build_broker
from runtime.kafka.publisher import EventPublisher
from runtime.settings import KafkaSettings
from support.batches import subscribe
from support.concurrent_consumers import consumer_of, recording_in, running
from support.consuming import Equipment, a_tick, committed, number_of, ticks
from support.kafka import delete_records, recording
from support.polling import eventually

pytestmark = pytest.mark.kafka


async def test_every_message_is_handled_once_and_committed(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    await publisher.publish_many(TICKS, ticks(range(1, 501), lanes=40))
    handled: list[int] = []
    async with running(consumer_of(kafka_settings, equipment, recording_in(handled))) as consumer:
        await eventually(lambda: len(handled) >= 500, within=20)
        assert consumer.liveness() is None
        assert consumer.readiness() is None
    assert sorted(handled) == list(range(1, 501))
    assert sum(offset for offset, _ in (await committed(kafka_settings, "collector", TICKS)).values()) == 500


async def test_only_the_watermark_is_committed_and_only_the_gap_is_handled_again(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    await publisher.publish_many(TICKS, ticks(range(1, 11)))
    first: list[int] = []

    async def stuck_at_three(event: Event, _record: ConsumerRecord) -> None:
        if number_of(event) == 3:
            await asyncio.Event().wait()
        first.append(number_of(event))

    async def watermark() -> int:
        ((offset, _),) = (await committed(kafka_settings, "collector", TICKS)).values()
        return offset

    async with running(consumer_of(kafka_settings, equipment, stuck_at_three)):
        await eventually(lambda: len(first) == 9, within=20)
    assert await watermark() == 2

    again: list[int] = []
    async with running(consumer_of(kafka_settings, equipment, recording_in(again))):
        await eventually(lambda: 3 in again, within=20)
        await publisher.publish(TICKS, a_tick(11))
        await eventually(lambda: 11 in again)
    assert again == [3, 11]
    assert await watermark() == 11


async def test_an_unreadable_message_becomes_a_dead_letter_and_the_next_is_handled(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    handled: list[int] = []
    await publisher.publish_raw(TICKS, key="binance", value=b"{broken", headers={"ce_id": "x"})
    await publisher.tombstone(TICKS, "binance")
    await publisher.publish(TICKS, a_tick(1))
    consumer = consumer_of(kafka_settings, equipment, recording_in(handled))
    async with recording(kafka_settings, DEAD_LETTERS) as recorder, running(consumer):
        await eventually(lambda: handled == [1], within=20)
        broken, null = await recorder.await_events(DeadLetter, 2)
    assert broken.source_topic == kafka_settings.kafka_topic_prefix + "ticks"
    assert (broken.source_offset, broken.source_value, broken.attempts) == (0, "e2Jyb2tlbg==", 1)
    assert broken.source_headers["ce_id"] == "x"
    assert "not a valid TickDue" in broken.error
    assert null.source_value is None
    assert sum(offset for offset, _ in (await committed(kafka_settings, "collector", TICKS)).values()) == 3


async def test_a_message_becomes_a_dead_letter_after_the_last_failed_attempt(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    tried: list[int] = []

    async def fails_for_one_and_once_for_two(event: Event, _record: ConsumerRecord) -> None:
        number = number_of(event)
        tried.append(number)
        if number == 1 or (number == 2 and tried.count(2) == 1):
            raise RuntimeError(f"cannot do {number}")

    await publisher.publish_many(TICKS, ticks([1, 2, 3]))
    consumer = consumer_of(kafka_settings, equipment, fails_for_one_and_once_for_two)
    async with recording(kafka_settings, DEAD_LETTERS) as recorder, running(consumer):
        letter = await recorder.await_event(DeadLetter, within=20)
        await eventually(lambda: (tried.count(1), tried.count(2), tried.count(3)) == (3, 2, 1))
    assert (letter.attempts, letter.error) == (3, "RuntimeError: cannot do 1")
    assert sum(offset for offset, _ in (await committed(kafka_settings, "collector", TICKS)).values()) == 3


async def test_a_slow_lane_does_not_block_other_lanes(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    handled: list[int] = []
    running_slow: list[int] = []

    async def slow_binance(event: Event, _record: ConsumerRecord) -> None:
        if event.key() == "binance":
            running_slow.append(number_of(event))
            await asyncio.Event().wait()
        handled.append(number_of(event))

    limits = InFlightLimits(in_flight=20, per_lane=5, drain_on_stop=0.1)
    await publisher.publish_many(TICKS, ticks(range(1, 101)))
    async with running(consumer_of(kafka_settings, equipment, slow_binance, limits)) as consumer:
        await eventually(lambda: len(running_slow) == 5, within=20)
        await publisher.publish_many(TICKS, [a_tick(number, lane="kraken") for number in range(101, 201)])
        await eventually(lambda: len(handled) == 100)
        await eventually(lambda: consumer.in_flight == 5)
        assert len(running_slow) == 5


@pytest.mark.real_kafka  # the in-memory broker races when several members join
async def test_a_second_member_takes_over_some_partitions_and_returns_them(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    one: list[int] = []
    two: list[int] = []
    numbers = iter(range(1, 100_000))

    async def publish_until(check: Callable[[], bool]) -> None:
        async def step() -> bool:
            await publisher.publish_many(TICKS, ticks([next(numbers) for _ in range(20)], lanes=40))
            return check()

        await eventually(step, within=30, every=0.05)

    async with running(consumer_of(kafka_settings, equipment, recording_in(one))):
        await publish_until(lambda: len(one) > 100)
        async with running(consumer_of(kafka_settings, Equipment(publisher), recording_in(two))):
            await publish_until(lambda: len(two) > 100)
            before = len(one)
            await publish_until(lambda: len(one) > before + 100)
        before = len(one)
        await publish_until(lambda: len(one) > before + 300)
        total = next(numbers) - 1
        await eventually(lambda: set(one) | set(two) == set(range(1, total + 1)))
    assert sum(offset for offset, _ in (await committed(kafka_settings, "collector", TICKS)).values()) == total
    doubled = len(one) + len(two) - total
    assert doubled <= total * 0.05, f"{doubled} of {total} messages were handled twice"


@pytest.mark.real_kafka
async def test_messages_of_moved_partitions_are_cancelled_so_that_two_members_never_work_on_a_lane(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    cancelled: set[int] = set()
    taken_over: set[int] = set()
    started: set[int] = set()

    async def never_finish(event: Event, _record: ConsumerRecord) -> None:
        started.add(number_of(event))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.add(number_of(event))
            raise

    async def record_number(event: Event, _record: ConsumerRecord) -> None:
        taken_over.add(number_of(event))

    await publisher.publish_many(TICKS, ticks(range(1, 41), lanes=20))
    async with running(consumer_of(kafka_settings, equipment, never_finish)):
        await eventually(lambda: len(started) == 40, within=30)
        async with running(consumer_of(kafka_settings, equipment, record_number)):
            await eventually(lambda: 0 < len(taken_over) < 40 and cancelled == taken_over, within=60)


async def test_a_consumer_whose_coordination_task_has_died_ends_with_an_error(
    kafka_settings: KafkaSettings, equipment: Equipment
) -> None:
    consumer = consumer_of(kafka_settings, equipment, recording_in([]))
    task = asyncio.create_task(consumer.run())
    await eventually(lambda: consumer.readiness() is None, within=20)
    assert consumer._consumer is not None
    break_coordination(consumer._consumer)
    with pytest.raises(ConsumerDied, match="coordination task has ended"):
        await asyncio.wait_for(task, 20)


async def test_a_batch_subscriber_whose_coordination_task_has_died_is_not_live(
    kafka_settings: KafkaSettings, equipment: Equipment
) -> None:
    async def write(_batch: list[Event | Tombstone]) -> None:
        return

    broker = build_broker(kafka_settings, "writer", graceful_timeout=1)
    subscription = subscribe(broker, kafka_settings, (TICKS,), group="writer", handler=write, equipment=equipment)
    await broker.start()
    await eventually(lambda: subscription.readiness() is None, within=20)
    assert subscription.liveness() is None
    consumer = subscription.consumer
    assert consumer is not None
    break_coordination(consumer)
    await eventually(lambda: subscription.liveness() == "the consumer's coordination task has ended", within=20)
    await asyncio.wait([asyncio.create_task(broker.stop())], timeout=10)


def break_coordination(consumer: AIOKafkaConsumer) -> None:
    """Make the coordination task fail, like a bug in aiokafka."""

    async def fail(*_: object) -> None:
        raise LookupError("a bug")

    consumer._coordinator.ensure_active_group = fail
    consumer._coordinator.request_rejoin()


@pytest.mark.real_kafka  # the in-memory broker deletes no records
async def test_messages_that_retention_deleted_unread_are_reported(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    handled: list[int] = []
    await publisher.publish_many(TICKS, ticks(range(1, 6)))
    async with running(consumer_of(kafka_settings, equipment, recording_in(handled))):
        await eventually(lambda: len(handled) == 5, within=20)
    await publisher.publish_many(TICKS, ticks(range(6, 21)))
    await delete_records(kafka_settings, TICKS, 15)
    later = Equipment(publisher)
    async with running(consumer_of(kafka_settings, later, recording_in(handled))):
        await eventually(lambda: len(handled) == 10, within=20)
    assert handled[5:] == [16, 17, 18, 19, 20]
    assert (equipment.deleted_unread(), later.deleted_unread()) == (0, 10)
