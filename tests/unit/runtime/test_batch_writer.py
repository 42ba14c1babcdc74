import asyncio
import time

import pytest
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from contracts.topics import TICKS
from runtime.consumers import batch_writer
from runtime.consumers.batch_writer import Batch, BatchWriter, Received, StoppedWriting
from support.consuming import a_tick, number_of
from support.records import InMemoryDeadLetters, a_record


class OutageError(Exception):
    pass


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_writer, "_FIRST_PAUSE_SECONDS", 0.0)


def a_batch(numbers: list[int]) -> Batch:
    def both(number: int) -> tuple[Received, ConsumerRecord]:
        return Received(a_tick(number), "binance", TICKS, 0, number), a_record(offset=number)

    return [both(number) for number in numbers]


async def nothing() -> None:
    return


def written_and_refused(batch: list[int], poison: set[int], outages: list[bool]) -> tuple[list[int], list[int]]:
    """What a store holds afterwards that refuses every batch with poison in it and is away now and then."""
    written: list[int] = []
    letters = InMemoryDeadLetters(dead_letters_max_consecutive=1000, dead_letters_max_consecutive_at_start=1000)
    coming = iter(outages)

    async def store(events: list[Received]) -> None:
        if next(coming, False):
            raise OutageError
        numbers = [number_of(received.event) for received in events if received.event is not None]
        if poison & set(numbers):
            raise ValueError("poison")
        written.extend(numbers)

    writer = BatchWriter(store, letters, lambda error: isinstance(error, OutageError), lambda: None)
    asyncio.run(writer.write(a_batch(batch), nothing))
    assert writer.problem is None
    return written, letters.offsets


numbers = st.lists(st.integers(1, 400), unique=True, max_size=40).map(sorted)


@given(batch=numbers, poison=st.sets(st.integers(1, 400)), outages=st.lists(st.booleans(), max_size=30))
def test_exactly_the_poison_is_put_aside_and_the_rest_is_written_in_order_once(
    batch: list[int], poison: set[int], outages: list[bool]
) -> None:
    written, refused = written_and_refused(batch, poison, outages)
    assert written == [number for number in batch if number not in poison]
    assert refused == [number for number in batch if number in poison]


async def test_however_many_are_refused_they_wait_for_two_pauses_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_writer, "_FIRST_PAUSE_SECONDS", 0.1)
    letters, tried = (
        InMemoryDeadLetters(dead_letters_max_consecutive=1000, dead_letters_max_consecutive_at_start=1000),
        [],
    )

    async def store(events: list[Received]) -> None:
        numbers = [number_of(received.event) for received in events if received.event is not None]
        if len(numbers) == 1:
            tried.extend(numbers)
        if any(number % 4 == 0 for number in numbers):
            raise ValueError("poison")

    began = time.monotonic()
    await BatchWriter(store, letters, lambda _: False, lambda: None).write(a_batch([*range(1, 201)]), nothing)
    assert time.monotonic() - began < 2, "0.3 s on average for all, not for each of fifty"
    assert letters.offsets == [*range(4, 201, 4)]
    assert {tried.count(offset) for offset in letters.offsets} == {3}


async def test_refused_messages_among_good_ones_are_no_run() -> None:
    letters = InMemoryDeadLetters(dead_letters_max_consecutive=2, dead_letters_max_consecutive_at_start=2)

    async def store(events: list[Received]) -> None:
        if any(received.offset % 2 for received in events):
            raise ValueError("poison")

    await BatchWriter(store, letters, lambda _: False, lambda: None).write(a_batch([*range(1, 41)]), nothing)
    assert letters.offsets == [*range(1, 41, 2)]


async def test_a_stop_ends_a_retry_and_the_batch_is_not_written() -> None:
    async def away(_events: list[Received]) -> None:
        raise OutageError

    writer = BatchWriter(away, InMemoryDeadLetters(), lambda _: True, lambda: None)

    async def stop_now() -> None:
        writer.stop()

    with pytest.raises(StoppedWriting):
        await writer.write(a_batch([1, 2]), stop_now)


async def test_while_it_waits_it_says_why_and_counts_as_alive() -> None:
    seen: list[str | None] = []
    attempts = iter([True, True, False])

    async def away_twice(_events: list[Received]) -> None:
        if next(attempts):
            raise OutageError("connection refused")

    writer = BatchWriter(away_twice, InMemoryDeadLetters(), lambda _: True, lambda: None)

    async def look() -> None:
        seen.append(writer.problem)

    await writer.write(a_batch([1]), look)
    assert seen == ["writing fails, trying again: OutageError('connection refused')"] * 2
    assert writer.problem is None


async def test_an_empty_batch_never_reaches_the_handler() -> None:
    async def never(_events: list[Received]) -> None:
        raise AssertionError("called without events")

    await BatchWriter(never, InMemoryDeadLetters(), lambda _: True, lambda: None).write([], nothing)
