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
    """Fails as often as told, then succeeds."""

    def __init__(self, failures: int) -> None:
        self.failures, self.calls = failures, 0

    async def __call__(self, _event: Event, _record: ConsumerRecord) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise RuntimeError(f"failure {self.calls}")


def attempts(handler: Handler, letters: InMemoryDeadLetters, retried: list[int] | None = None) -> Attempts:
    on_retry = (lambda: retried.append(1)) if retried is not None else (lambda: None)
    return Attempts(handler, letters, attempts=3, first_pause=0.0, on_retry=on_retry)


@pytest.mark.parametrize(("failures", "letters"), [(0, []), (2, []), (3, ["RuntimeError: failure 3"])])
async def test_a_message_is_tried_three_times_and_then_put_aside(failures: int, letters: list[str]) -> None:
    kept, handler, retried = InMemoryDeadLetters(), Handler(failures), []
    await attempts(handler, kept, retried).settle(TICK, RECORD)
    assert [letter.error for letter in kept.letters] == letters
    assert handler.calls == min(failures + 1, 3)
    assert len(retried) == handler.calls - 1


async def test_a_cancelled_handler_is_neither_done_nor_put_aside() -> None:
    kept = InMemoryDeadLetters()
    began = asyncio.Event()

    async def endless(_event: Event, _record: ConsumerRecord) -> None:
        began.set()
        await asyncio.Event().wait()

    settling = asyncio.create_task(
        Attempts(endless, kept, attempts=3, first_pause=0.0, on_retry=lambda: None).settle(TICK, RECORD)
    )
    await began.wait()
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    assert kept.letters == []
