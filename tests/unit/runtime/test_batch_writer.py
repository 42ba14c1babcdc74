import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.event import Event
from runtime.consumers import batch_writer
from runtime.consumers.batch_writer import Batch, BatchItem, BatchWriter, StoppedWriting
from support.consuming import a_tick, number_of
from support.records import InMemoryDeadLetters, a_record


class OutageError(Exception):
    pass


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_writer, "_INITIAL_WAIT_SECONDS", 0.0)


def a_batch(numbers: list[int]) -> Batch:
    return [(a_tick(number), a_record(offset=number)) for number in numbers]


async def nothing() -> None:
    return


def written_and_refused(batch: list[int], poison: set[int], outages: list[bool]) -> tuple[list[int], list[int]]:
    """The numbers that are stored and the offsets that become dead letters. The store refuses each batch with poison,
    and is unavailable at the calls that `outages` marks.
    """
    written: list[int] = []
    letters = InMemoryDeadLetters(dead_letters_max_consecutive=1000, dead_letters_max_consecutive_at_start=1000)
    coming = iter(outages)

    async def store(events: list[BatchItem]) -> None:
        if next(coming, False):
            raise OutageError
        numbers = [number_of(event) for event in events if isinstance(event, Event)]
        if poison & set(numbers):
            raise ValueError("poison")
        written.extend(numbers)

    writer = BatchWriter(letters, lambda error: isinstance(error, OutageError), lambda: None)
    asyncio.run(writer.write(a_batch(batch), store, nothing))
    assert writer.problem is None
    return written, letters.offsets


numbers = st.lists(st.integers(1, 400), unique=True, max_size=40).map(sorted)


@given(batch=numbers, poison=st.sets(st.integers(1, 400)), outages=st.lists(st.booleans(), max_size=30))
def test_exactly_the_poison_becomes_dead_letters_and_the_rest_is_written_in_order_once(
    batch: list[int], poison: set[int], outages: list[bool]
) -> None:
    written, refused = written_and_refused(batch, poison, outages)
    assert written == [number for number in batch if number not in poison]
    assert refused == [number for number in batch if number in poison]


async def test_refused_messages_wait_twice_together_and_not_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_writer, "_INITIAL_WAIT_SECONDS", 0.1)
    letters, tried = (
        InMemoryDeadLetters(dead_letters_max_consecutive=1000, dead_letters_max_consecutive_at_start=1000),
        [],
    )

    async def store(events: list[BatchItem]) -> None:
        numbers = [number_of(event) for event in events if isinstance(event, Event)]
        if len(numbers) == 1:
            tried.extend(numbers)
        if any(number % 4 == 0 for number in numbers):
            raise ValueError("poison")

    began = time.monotonic()
    await BatchWriter(letters, lambda _: False, lambda: None).write(a_batch([*range(1, 201)]), store, nothing)
    assert time.monotonic() - began < 2, "0.3 s on average for all, not for each of fifty"
    assert letters.offsets == [*range(4, 201, 4)]
    assert {tried.count(offset) for offset in letters.offsets} == {3}


async def test_refused_messages_between_good_ones_are_not_consecutive() -> None:
    letters = InMemoryDeadLetters(dead_letters_max_consecutive=2, dead_letters_max_consecutive_at_start=2)

    async def store(events: list[BatchItem]) -> None:
        if any(number_of(event) % 2 for event in events if isinstance(event, Event)):
            raise ValueError("poison")

    await BatchWriter(letters, lambda _: False, lambda: None).write(a_batch([*range(1, 41)]), store, nothing)
    assert letters.offsets == [*range(1, 41, 2)]


async def test_a_stop_ends_a_retry_and_the_batch_is_not_written() -> None:
    async def away(_events: list[BatchItem]) -> None:
        raise OutageError

    writer = BatchWriter(InMemoryDeadLetters(), lambda _: True, lambda: None)

    async def stop_now() -> None:
        writer.stop()

    with pytest.raises(StoppedWriting):
        await writer.write(a_batch([1, 2]), away, stop_now)


async def test_a_waiting_writer_reports_its_problem_and_keeps_its_membership() -> None:
    seen: list[str | None] = []
    attempts = iter([True, True, False])

    async def away_twice(_events: list[BatchItem]) -> None:
        if next(attempts):
            raise OutageError("connection refused")

    writer = BatchWriter(InMemoryDeadLetters(), lambda _: True, lambda: None)

    async def check() -> None:
        seen.append(writer.problem)

    await writer.write(a_batch([1]), away_twice, check)
    assert seen == ["writing fails, trying again: OutageError('connection refused')"] * 2
    assert writer.problem is None


async def test_an_empty_batch_never_reaches_the_handler() -> None:
    async def never(_events: list[BatchItem]) -> None:
        raise AssertionError("called without events")

    await BatchWriter(InMemoryDeadLetters(), lambda _: True, lambda: None).write([], never, nothing)
