import asyncio

import pytest
from aiokafka import ConsumerRecord

from contracts.event import Event
from runtime.consumers.attempts import Attempts
from runtime.kafka.codec import encode
from support.consuming import a_tick
from support.records import InMemoryDeadLetters, a_record

TICK = a_tick()
RECORD = a_record(value=encode(TICK)[0])


class Handler:
    """Fails for the first `failures` calls, then succeeds."""

    def __init__(self, failures: int) -> None:
        self.failures, self.calls = failures, 0

    async def __call__(self, _event: Event, _record: ConsumerRecord) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise RuntimeError(f"failure {self.calls}")


def attempts(handler: Handler, letters: InMemoryDeadLetters, retried: list[int] | None = None) -> Attempts:
    on_retry = (lambda: retried.append(1)) if retried is not None else (lambda: None)
    return Attempts(handler, letters, attempts=3, initial_wait=0.0, on_retry=on_retry)


@pytest.mark.parametrize(("failures", "letters"), [(0, []), (2, []), (3, ["RuntimeError: failure 3"])])
async def test_a_message_becomes_a_dead_letter_after_three_attempts(failures: int, letters: list[str]) -> None:
    dead_letters, handler, retried = InMemoryDeadLetters(), Handler(failures), []
    await attempts(handler, dead_letters, retried).handle(TICK, RECORD)
    assert [letter.error for letter in dead_letters.letters] == letters
    assert handler.calls == min(failures + 1, 3)
    assert len(retried) == handler.calls - 1


async def test_a_message_whose_handler_is_cancelled_is_neither_finished_nor_a_dead_letter() -> None:
    dead_letters = InMemoryDeadLetters()
    started = asyncio.Event()

    async def endless(_event: Event, _record: ConsumerRecord) -> None:
        started.set()
        await asyncio.Event().wait()

    handling = asyncio.create_task(
        Attempts(endless, dead_letters, attempts=3, initial_wait=0.0, on_retry=lambda: None).handle(TICK, RECORD)
    )
    await started.wait()
    handling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handling
    assert dead_letters.letters == []
