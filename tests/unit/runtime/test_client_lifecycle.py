import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError

from runtime.kafka import client_lifecycle
from runtime.kafka.client_lifecycle import close_in_time


async def close(closing: object) -> bool:
    return await close_in_time(closing, "It could not be closed", action="close_failed")


async def test_a_successful_close_is_reported() -> None:
    async def succeed() -> None:
        await asyncio.sleep(0)

    assert await close(succeed())


@pytest.mark.parametrize("problem", [asyncio.CancelledError(), KafkaConnectionError("gone"), OSError("gone")])
async def test_a_client_whose_close_fails_does_not_cancel_its_caller(problem: BaseException) -> None:
    async def fail() -> None:
        raise problem

    assert not await close(fail())
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_a_client_that_never_closes_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_lifecycle, "_CLOSE_SECONDS", 0.05)
    assert not await close(asyncio.Event().wait())


async def test_a_cancellation_of_the_caller_takes_effect_during_a_close() -> None:
    closing = asyncio.create_task(close(asyncio.Event().wait()))
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing


async def test_an_unexpected_error_of_a_close_is_raised() -> None:
    async def fail_unexpectedly() -> None:
        raise TypeError("wrong")

    with pytest.raises(TypeError):
        await close(fail_unexpectedly())
