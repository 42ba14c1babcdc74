import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer

from contracts.dead_letters import DeadLetter
from contracts.event import Event
from contracts.topics import DEAD_LETTERS, SCHEDULE_STATE, TICKS
from runtime.consumers.batch import BatchSubscription, Tombstone
from runtime.kafka.clients import bootstrap_list, build_broker, topic_name
from runtime.kafka.codec import encode
from runtime.kafka.publisher import EventPublisher
from runtime.settings import KafkaSettings
from support.batches import Handler, subscribe
from support.consuming import Equipment, a_tick, committed, number_of, ticks
from support.kafka import delete_records, recording
from support.polling import eventually

pytestmark = pytest.mark.kafka


class StoreAwayError(Exception):
    """The store is unavailable, and a retry helps."""


@asynccontextmanager
async def writing(
    settings: KafkaSettings,
    publisher: EventPublisher,
    handler: Handler,
    max_records: int = 1000,
    equipment: Equipment | None = None,
) -> AsyncIterator[BatchSubscription]:
    """A writer with its own broker, as in a process of its own. It stops as a worker stops it."""
    equipment = equipment or Equipment(publisher, "log-writer")
    broker = build_broker(settings, "writer", graceful_timeout=5)
    subscription = subscribe(
        broker,
        settings,
        (TICKS, SCHEDULE_STATE),
        group="log-writer",
        handler=handler,
        equipment=equipment,
        is_transient=lambda error: isinstance(error, StoreAwayError),
        max_records=max_records,
    )
    await broker.start()
    background = subscription.background()
    task = asyncio.create_task(background.run())
    try:
        yield subscription
    finally:
        await background.stop()
        await asyncio.wait([task])
        await broker.stop()


async def committed_ticks(settings: KafkaSettings) -> int:
    return sum(offset for offset, _ in (await committed(settings, "log-writer", TICKS)).values())


async def committed_is(settings: KafkaSettings, count: int) -> None:
    async def check() -> bool:
        assert await committed_ticks(settings) == count
        return True

    await eventually(check, every=0.1)


def writing_to(written: list[int]) -> Handler:
    async def write(batch: list[Event | Tombstone]) -> None:
        written.extend(number_of(event) for event in batch if isinstance(event, Event))

    return write


async def test_batches_arrive_in_order_and_are_committed(
    kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    written: list[int] = []
    sizes: list[int] = []

    async def write(batch: list[Event | Tombstone]) -> None:
        sizes.append(len(batch))
        await writing_to(written)(batch)

    equipment = Equipment(publisher, "log-writer")
    await publisher.publish_many(TICKS, ticks(range(1, 2001)))
    async with writing(kafka_settings, publisher, write, max_records=500, equipment=equipment) as subscription:
        await eventually(lambda: len(written) == 2000, within=20)
        assert (subscription.readiness(), subscription.liveness()) == (None, None)
        await committed_is(kafka_settings, 2000)
    assert written == list(range(1, 2001))
    assert max(sizes) <= 500
    assert len(sizes) < 100, "under load messages are not written one by one"
    assert processed_messages(equipment, kafka_settings) == {"acked": 2000}


def processed_messages(equipment: Equipment, settings: KafkaSettings) -> dict[str, float]:
    """FastStream's count of the group's messages in batches that began with a tick, by status."""
    samples = [each for metric in equipment.registry.collect() for each in metric.samples]
    labels = {"app_name": "log-writer", "broker": "kafka", "handler": topic_name(settings, TICKS)}
    name = "faststream_received_processed_messages_total"
    return {
        each.labels["status"]: each.value
        for each in samples
        if each.name == name and labels.items() <= each.labels.items()
    }


async def test_during_an_outage_of_the_store_nothing_is_lost_or_committed(
    kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    written: list[int] = []
    refused = 0
    away = True

    async def write(batch: list[Event | Tombstone]) -> None:
        nonlocal refused
        if away:
            refused += 1
            raise StoreAwayError("connection refused")
        await writing_to(written)(batch)

    await publisher.publish_many(TICKS, ticks(range(1, 101)))
    async with writing(kafka_settings, publisher, write) as subscription:
        await eventually(lambda: refused >= 3, within=20)
        assert "connection refused" in (subscription.readiness() or "")
        assert subscription.liveness() is None
        assert await committed_ticks(kafka_settings) == 0
        away = False
        await eventually(lambda: written == list(range(1, 101)), within=20)
        assert subscription.readiness() is None
        await committed_is(kafka_settings, 100)


async def test_a_stop_during_an_outage_commits_nothing_and_the_next_owner_writes_all(
    kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    refused = asyncio.Event()

    async def write(batch: list[Event | Tombstone]) -> None:
        if 1 in [number_of(event) for event in batch if isinstance(event, Event)]:  # later batches would be stored
            refused.set()
            raise StoreAwayError("connection refused")

    await publisher.publish_many(TICKS, ticks(range(1, 101)))
    equipment = Equipment(publisher, "log-writer")
    async with writing(kafka_settings, publisher, write, max_records=10, equipment=equipment):
        await asyncio.wait_for(refused.wait(), 20)
    assert await committed_ticks(kafka_settings) == 0
    assert set(processed_messages(equipment, kafka_settings)) == {"error"}
    written: list[int] = []
    async with writing(kafka_settings, publisher, writing_to(written)):
        await eventually(lambda: written == list(range(1, 101)), within=20)


async def test_messages_that_cannot_be_stored_are_isolated_and_the_rest_is_written_in_order(
    kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    written: list[int] = []

    async def write(batch: list[Event | Tombstone]) -> None:
        numbers = [number_of(event) for event in batch if isinstance(event, Event)]
        if poison := {7, 64} & set(numbers):
            raise ValueError(f"violates a constraint: {sorted(poison)}")
        written.extend(numbers)

    await publisher.publish_many(TICKS, ticks(range(1, 101)))
    async with (
        recording(kafka_settings, DEAD_LETTERS) as recorder,
        writing(kafka_settings, publisher, write) as subscription,
    ):
        letters = await recorder.await_events(DeadLetter, 2, within=20)
        await eventually(lambda: len(written) == 98)
        await committed_is(kafka_settings, 100)
        assert subscription.readiness() is None
    assert written == [number for number in range(1, 101) if number not in {7, 64}]
    assert [(letter.source_offset, letter.attempts) for letter in letters] == [(6, 3), (63, 3)]
    assert letters[0].error == "ValueError: violates a constraint: [7]"


async def test_unreadable_messages_bad_headers_and_tombstones_do_not_block_a_batch(
    kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    received: list[Event | Tombstone] = []

    async def write(batch: list[Event | Tombstone]) -> None:
        received.extend(batch)

    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_list(kafka_settings))
    await producer.start()
    ticks_topic = topic_name(kafka_settings, TICKS)
    value = encode(a_tick(1))[0]
    await producer.send_and_wait(ticks_topic, value, key=b"binance", headers=[("nothing", None), ("bytes", b"\xff")])
    await producer.send_and_wait(ticks_topic, b"?", key=b"binance", headers=[("nothing", None), ("bytes", b"\xff")])
    await producer.send_and_wait(ticks_topic, None, key=b"binance")
    await producer.send_and_wait(topic_name(kafka_settings, SCHEDULE_STATE), None, key=b"42")
    await producer.stop()
    async with recording(kafka_settings, DEAD_LETTERS) as recorder, writing(kafka_settings, publisher, write):
        letters = await recorder.await_events(DeadLetter, 2, within=20)
        await eventually(lambda: len(received) == 2)
        await committed_is(kafka_settings, 3)
    assert [number_of(each) for each in received if isinstance(each, Event)] == [1]
    assert [each for each in received if isinstance(each, Tombstone)] == [Tombstone(SCHEDULE_STATE, "42")]
    assert letters[0].source_headers == {"nothing": "", "bytes": "�"}


@pytest.mark.real_kafka  # the in-memory broker has a race if several members join
async def test_a_second_writer_takes_over_partitions_without_loss(
    kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    one: list[int] = []
    two: list[int] = []
    numbers = iter(range(1, 1_000_000))

    async def publish_until(check: Callable[[], bool]) -> None:
        async def step() -> bool:
            await publisher.publish_many(TICKS, ticks([next(numbers) for _ in range(50)], lanes=40))
            return check()

        await eventually(step, within=30, every=0.02)

    async with writing(kafka_settings, publisher, writing_to(one)):
        await publish_until(lambda: len(one) > 200)
        async with writing(kafka_settings, publisher, writing_to(two)):
            await publish_until(lambda: len(two) > 200)
        before = len(one)
        await publish_until(lambda: len(one) > before + 500)
        total = next(numbers) - 1
        await eventually(lambda: set(one) | set(two) == set(range(1, total + 1)))
        await committed_is(kafka_settings, total)
    assert len(one) + len(two) - total <= total * 0.2


@pytest.mark.real_kafka  # the in-memory broker has a race if several members join
async def test_a_slow_batch_during_a_rebalance_is_written_by_the_new_owner(
    kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    one: list[int] = []
    two: list[int] = []
    slow = asyncio.Event()

    async def slowly(batch: list[Event | Tombstone]) -> None:
        slow.set()
        await asyncio.sleep(5)
        await writing_to(one)(batch)

    await publisher.publish_many(TICKS, ticks(range(1, 41), lanes=40))
    async with writing(kafka_settings, publisher, slowly):
        await asyncio.wait_for(slow.wait(), 20)
        async with writing(kafka_settings, publisher, writing_to(two)):
            await eventually(lambda: set(one) | set(two) == set(range(1, 41)), within=30)
            await committed_is(kafka_settings, 40)
    assert two, "the second writer got partitions while the first was busy"


@pytest.mark.real_kafka  # the in-memory broker deletes no records
async def test_messages_that_retention_deleted_unread_are_reported(
    kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    written: list[int] = []
    await publisher.publish_many(TICKS, ticks(range(1, 6)))
    before, later = Equipment(publisher, "log-writer"), Equipment(publisher, "log-writer")
    async with writing(kafka_settings, publisher, writing_to(written), equipment=before):
        await eventually(lambda: len(written) == 5, within=20)
        await committed_is(kafka_settings, 5)
    await publisher.publish_many(TICKS, ticks(range(6, 21)))
    await delete_records(kafka_settings, TICKS, 15)
    async with writing(kafka_settings, publisher, writing_to(written), equipment=later):
        await eventually(lambda: len(written) == 10, within=20)
    assert written[5:] == [16, 17, 18, 19, 20]
    assert (before.deleted_unread(), later.deleted_unread()) == (0, 10)


@pytest.mark.real_kafka  # the in-memory broker deletes no records
async def test_messages_that_retention_deletes_during_an_outage_of_the_store_are_reported_at_once(
    kafka_settings: KafkaSettings, publisher: EventPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consumer keeps its partitions, so no new assignment reveals the loss."""

    async def refuse(_batch: list[Event | Tombstone]) -> None:
        raise StoreAwayError("connection refused")

    monkeypatch.setattr("runtime.consumers.retention_check._INTERVAL_SECONDS", 0.1)
    equipment = Equipment(publisher, "log-writer")
    of_ticks = {"consumer": "log-writer", "topic": topic_name(kafka_settings, TICKS)}

    def sample(name: str) -> float:
        found = [each for metric in equipment.registry.collect() for each in metric.samples if each.name == name]
        return sum(each.value for each in found if of_ticks.items() <= each.labels.items())

    await publisher.publish_many(TICKS, ticks(range(1, 101)))
    async with writing(kafka_settings, publisher, refuse, max_records=10, equipment=equipment):
        await eventually(lambda: sample("candlekeep_consumer_lag") == 90, within=20)
        await eventually(lambda: sample("candlekeep_consumer_retained") == 100)
        await delete_records(kafka_settings, TICKS, 40)
        await eventually(lambda: sample("candlekeep_consumer_retained") == 60)
        assert equipment.deleted_unread() == 30
