import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError

from runtime.kafka import client_lifecycle
from runtime.kafka.client_lifecycle import close_in_time


async def close(closing: object) -> bool:
    return await close_in_time(closing, "It could not be closed", action="close_failed")


async def test_what_closes_well_is_closed() -> None:
    async def well() -> None:
        await asyncio.sleep(0)

    assert await close(well())


@pytest.mark.parametrize("problem", [asyncio.CancelledError(), KafkaConnectionError("gone"), OSError("gone")])
async def test_a_client_that_trips_over_its_own_closing_stops_nobody_else(problem: BaseException) -> None:
    async def badly() -> None:
        raise problem

    assert not await close(badly())
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_a_client_that_never_closes_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_lifecycle, "_CLOSE_SECONDS", 0.05)
    assert not await close(asyncio.Event().wait())


async def test_an_order_to_end_is_obeyed_amid_closing() -> None:
    closing = asyncio.create_task(close(asyncio.Event().wait()))
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing


async def test_a_bug_is_not_taken_for_an_outage() -> None:
    async def wrongly() -> None:
        raise TypeError("wrong")

    with pytest.raises(TypeError):
        await close(wrongly())
