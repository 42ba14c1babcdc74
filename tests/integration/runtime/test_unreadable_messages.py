"""Unreadable messages become dead letters quickly, and a consumer that can read none stops; for each consumer."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord

from contracts.configs import ConfigChanged
from contracts.dead_letters import DeadLetter
from contracts.event import Event
from contracts.topics import CONFIG_CHANGES, DEAD_LETTERS, RUN_EVENTS, SCHEDULE_STATE, TICKS, Topic
from runtime.consumers.batch import Tombstone
from runtime.consumers.concurrent import ConcurrentConsumer
from runtime.consumers.limits import InFlightLimits
from runtime.consumers.tables import CoPartitionedTables
from runtime.dead_letters import DeadLetters, TooManyDeadLetters
from runtime.kafka.clients import bootstrap_list, build_broker, topic_name
from runtime.kafka.codec import encode
from runtime.kafka.publisher import EventPublisher
from runtime.lifecycle.background import Background
from runtime.settings import DeadLetterSettings, KafkaSettings
from support.batches import subscribe
from support.consuming import NOON, Equipment, a_config, a_tick, committed, number_of
from support.kafka import recording
from support.polling import eventually

pytestmark = pytest.mark.kafka

KEY = b"binance"
GROUP = "group"
NAME = "consumer"


@dataclass
class Seen:
    """Records the handled numbers. The handler fails for the numbers in `failing`."""

    numbers: list[int] = field(default_factory=list)
    tried: list[int] = field(default_factory=list)
    failing: set[int] = field(default_factory=set)

    def handle(self, event: Event) -> None:
        number = event.config.config_id if isinstance(event, ConfigChanged) else number_of(event)
        self.tried.append(number)
        if number in self.failing:
            raise LookupError(f"a bug with {number}")
        self.numbers.append(number)

    # used as handler of the concurrent consumer and of batches, and as owner of tables
    async def one(self, event: Event, _record: ConsumerRecord) -> None:
        self.handle(event)

    async def batch(self, batch: list[Event | Tombstone]) -> None:
        for event in batch:
            assert isinstance(event, Event)
            self.handle(event)

    def on_record(self, _partition: int, _topic: Topic, _key: str, event: Event | None) -> None:
        assert event is not None
        self.handle(event)

    def unpublished(self) -> set[int]:
        return set()

    def on_live(self, partition: int) -> None: ...

    async def on_revoked(self, partitions: set[int]) -> bool:
        return True

    def on_dropped(self, partitions: set[int]) -> None: ...


Start = Callable[[KafkaSettings, Equipment, Seen], AsyncIterator[Background]]


@dataclass(frozen=True)
class Kind:
    """A kind of consumer and its topic."""

    name: str
    topic: Topic
    start: Start
    attempts: int

    def event(self, number: int) -> Event:
        if self.topic is TICKS:
            return a_tick(number)
        return ConfigChanged(occurred_at=NOON, config=a_config(number))


async def concurrent(settings: KafkaSettings, equipment: Equipment, seen: Seen) -> AsyncIterator[Background]:
    yield ConcurrentConsumer(
        settings,
        TICKS,
        group=GROUP,
        handler=seen.one,
        dead_letters=equipment.dead_letters,
        metrics=equipment.metrics,
        limits=InFlightLimits(commit_interval=0.1, drain_on_revoke=0.5, drain_on_stop=0.5),
    ).background()


async def batches(settings: KafkaSettings, equipment: Equipment, seen: Seen) -> AsyncIterator[Background]:
    broker = build_broker(settings, "writer", graceful_timeout=5)
    subscription = subscribe(
        broker, settings, (TICKS,), group=GROUP, handler=seen.batch, equipment=equipment, max_records=7
    )
    await broker.start()
    yield subscription.background()
    await broker.stop()


async def tables(settings: KafkaSettings, equipment: Equipment, seen: Seen) -> AsyncIterator[Background]:
    yield CoPartitionedTables(
        settings,
        group=GROUP,
        tables=(CONFIG_CHANGES, SCHEDULE_STATE),
        live=(RUN_EVENTS,),
        owner=seen,
        dead_letters=equipment.dead_letters,
        metrics=equipment.metrics,
    ).background()


KINDS = [
    Kind("concurrent", TICKS, concurrent, attempts=3),
    Kind("batches", TICKS, batches, attempts=3),
    Kind("tables", CONFIG_CHANGES, tables, attempts=1),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])


@asynccontextmanager
async def consuming(
    kind: Kind, settings: KafkaSettings, publisher: EventPublisher, seen: Seen, **limits: Any
) -> AsyncIterator[asyncio.Task[None]]:
    """A running consumer, which is stopped at the end. The task is its `run`."""
    equipment = Equipment(publisher)
    equipment.dead_letters = DeadLetters(publisher, NAME, equipment.metrics, DeadLetterSettings(**limits))
    async with asynccontextmanager(kind.start)(settings, equipment, seen) as background:
        task = asyncio.create_task(background.run())
        try:
            yield task
        finally:
            await background.stop()
            await asyncio.wait([task])


@dataclass
class RawProducer:
    """Sends messages that the event publisher would refuse."""

    producer: AIOKafkaProducer
    topic: str

    async def send(self, value: bytes | None, headers: tuple[tuple[str, bytes | None], ...] = ()) -> None:
        await self.producer.send_and_wait(self.topic, value, key=KEY, headers=list(headers))


@asynccontextmanager
async def producing(settings: KafkaSettings, topic: Topic) -> AsyncIterator[RawProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_list(settings), max_request_size=2_000_000)
    await producer.start()
    try:
        yield RawProducer(producer, topic_name(settings, topic))
    finally:
        await producer.stop()


async def committed_count(settings: KafkaSettings, topic: Topic) -> int:
    """Number of messages that the group has committed."""
    return sum(offset for offset, _ in (await committed(settings, GROUP, topic)).values())


def invalid_values(good: bytes) -> list[bytes]:
    return [
        b"{broken",
        b'{"type": "Unknown"}',
        b'{"type": "TickDue", "run_id": 7}',
        good.replace(b"2026-05-04T12:00:00Z", b"0001-01-01T00:00:00+14:00"),
        b"\x00\xff" * 450_000,
    ]


@every_kind
async def test_every_kind_of_invalid_message_becomes_a_dead_letter_within_five_seconds(
    kind: Kind, kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    seen, good = Seen(), encode(kind.event(1))[0]
    bad_headers = (("null", None), ("bytes", b"\xff"), ("text", b"as it was"))
    values = invalid_values(good)
    async with (
        recording(kafka_settings, DEAD_LETTERS) as recorder,
        consuming(kind, kafka_settings, publisher, seen),
        producing(kafka_settings, kind.topic) as producer,
    ):
        await producer.send(good, bad_headers)
        await eventually(lambda: seen.numbers == [1], within=20)
        for value in values:
            await producer.send(value, bad_headers)
        await producer.send(encode(kind.event(2))[0])
        letters = await recorder.await_events(DeadLetter, len(values), within=5)
        await eventually(lambda: seen.numbers == [1, 2], within=5)

        async def all_committed() -> bool:
            return await committed_count(kafka_settings, kind.topic) == len(values) + 2

        await eventually(all_committed, within=10, every=0.2)
    assert [base64.b64decode(letter.source_value or "") for letter in sorted_by_offset(letters)] == values
    for letter in letters:
        assert letter.source_topic == topic_name(kafka_settings, kind.topic)
        assert letter.source_headers == {"null": "", "bytes": "�", "text": "as it was"}
        assert (letter.source_key, letter.attempts, letter.consumer) == (base64.b64encode(KEY).decode(), 1, NAME)
        assert letter.error


def sorted_by_offset(letters: list[DeadLetter]) -> list[DeadLetter]:
    return sorted(letters, key=lambda letter: letter.source_offset)


@every_kind
async def test_a_message_becomes_a_dead_letter_after_its_attempts_and_the_next_is_handled(
    kind: Kind, kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    seen = Seen(failing={13})
    async with (
        recording(kafka_settings, DEAD_LETTERS) as recorder,
        consuming(kind, kafka_settings, publisher, seen),
        producing(kafka_settings, kind.topic) as producer,
    ):
        await producer.send(encode(kind.event(1))[0])
        await eventually(lambda: seen.numbers == [1], within=20)
        for number in (13, 2):
            await producer.send(encode(kind.event(number))[0])
        letter = await recorder.await_event(DeadLetter, within=5)
        await eventually(lambda: seen.numbers[-1] == 2, within=5)
    assert (letter.error, letter.attempts) == ("LookupError: a bug with 13", kind.attempts)
    assert seen.tried.count(13) <= 5


@every_kind
async def test_a_consumer_that_can_read_no_message_stops_and_restarts_do_not_empty_its_topic(
    kind: Kind, kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    """Like a release with the wrong contract that its supervisor restarts repeatedly."""
    async with recording(kafka_settings, DEAD_LETTERS) as recorder, producing(kafka_settings, kind.topic) as producer:
        for _ in range(80):
            await producer.send(b"{}")
        for _ in range(3):
            async with consuming(kind, kafka_settings, publisher, Seen()) as running:
                await asyncio.wait([running], timeout=20)
                assert isinstance(running.exception(), TooManyDeadLetters)
            assert await committed_count(kafka_settings, kind.topic) == 0
        letters = await recorder.await_events(DeadLetter, 10)
    assert {letter.source_offset for letter in letters} <= set(range(10)), "always the first ten"


async def test_a_release_that_cannot_read_the_tables_does_not_start_with_empty_ones(
    kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    kind, seen = KINDS[2], Seen()
    async with recording(kafka_settings, DEAD_LETTERS) as recorder, producing(kafka_settings, kind.topic) as producer:
        for number in range(1, 31):
            await producer.send(encode(kind.event(number))[0])
        async with consuming(kind, kafka_settings, publisher, seen):
            await eventually(lambda: len(seen.numbers) == 30, within=20)
        async with consuming(kind, kafka_settings, publisher, Seen(failing=set(range(1, 31)))) as running:
            await asyncio.wait([running], timeout=20)
            assert isinstance(running.exception(), TooManyDeadLetters)
    assert recorder.records == [], "messages before the commit of the group count, but make no second dead letter"


@every_kind
async def test_a_handler_that_fails_for_every_message_stops_the_consumer(
    kind: Kind, kafka_settings: KafkaSettings, publisher: EventPublisher
) -> None:
    seen = Seen(failing=set(range(1, 7)))
    async with recording(kafka_settings, DEAD_LETTERS) as recorder, producing(kafka_settings, kind.topic) as producer:
        for number in range(1, 7):
            await producer.send(encode(kind.event(number))[0])
        async with consuming(kind, kafka_settings, publisher, seen, dead_letters_max_consecutive_at_start=3) as running:
            await asyncio.wait([running], timeout=40)
            assert isinstance(running.exception(), TooManyDeadLetters)
        assert await committed_count(kafka_settings, kind.topic) == 0
        assert len(await recorder.await_events(DeadLetter, 3)) == 3
