"""The places of each caller: others wait in order, in vain only for a limited time, and no caller is remembered."""

import asyncio

import pytest

from admin_api.http.caller_places import CallerPlaces
from admin_api.http.errors import TooManyRequests
from support.polling import eventually


def caller_places(*, queue_length: int = 10, wait_seconds: float = 60) -> CallerPlaces:
    return CallerPlaces(
        2, queue_length=queue_length, wait_seconds=wait_seconds, refusal=lambda: TooManyRequests("too many")
    )


async def test_a_caller_has_places_and_the_next_request_waits_in_order() -> None:
    places, order = caller_places(), []
    first, second = await places.acquire("a"), await places.acquire("a")

    async def wait(name: str) -> None:
        leave = await places.acquire("a")
        order.append(name)
        leave()

    waiting = [asyncio.create_task(wait(name)) for name in ("third", "fourth")]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        (await places.acquire("b"))()  # another caller does not wait
    assert order == []
    first()
    first()  # a second call gives no second place
    await asyncio.gather(*waiting)
    assert order == ["third", "fourth"]
    second()
    assert places._callers == {}


async def test_a_request_too_many_is_refused_at_once_and_one_that_waits_too_long_later() -> None:
    places = caller_places(queue_length=1, wait_seconds=0.05)
    held = [await places.acquire("a") for _ in range(2)]
    waiting = asyncio.create_task(places.acquire("a"))
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests):
        await places.acquire("a")
    with pytest.raises(TooManyRequests):
        await waiting
    for leave in held:
        leave()
    assert places._callers == {}


async def test_a_cancelled_request_takes_no_place() -> None:
    places = caller_places()
    held = [await places.acquire("a") for _ in range(2)]
    waiting = asyncio.create_task(places.acquire("a"))
    await eventually(lambda: _result(places._callers["a"].requests == 3))
    waiting.cancel()
    await asyncio.wait([waiting])
    for leave in held:
        leave()
    assert places._callers == {}


async def _result(value: bool) -> bool:
    return value
