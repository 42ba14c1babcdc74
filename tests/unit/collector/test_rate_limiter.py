import asyncio
import time

import pytest

from collector.exchange.rate_limiter import RateLimiter


async def test_a_lone_request_starts_at_once_even_after_idleness() -> None:
    throttle = RateLimiter(200.0, lambda _: None)
    for _ in range(2):
        began = time.monotonic()
        await throttle(1.0)
        assert time.monotonic() - began < 0.1
        await asyncio.sleep(0.25)


async def test_the_long_run_rate_is_kept_first_come_first_served() -> None:
    waits: list[float] = []
    throttle, order = RateLimiter(20.0, waits.append), []

    async def one(number: int) -> None:
        await throttle(2.0)
        order.append(number)

    began = time.monotonic()
    await asyncio.gather(*(one(number) for number in range(10)))
    assert time.monotonic() - began >= 8 * 0.040  # a burst of one unit is free, and the last one's cost comes after
    assert order == list(range(10))
    assert waits == sorted(waits)
    assert waits[-1] >= 8 * 0.040


async def test_waiters_that_leave_cost_nothing() -> None:
    throttle = RateLimiter(100.0, lambda _: None)
    await throttle(2.0)
    leaving = [asyncio.create_task(throttle(1.0)) for _ in range(20)]
    await asyncio.sleep(0.01)
    for task in leaving:
        task.cancel()
    began = time.monotonic()
    await throttle(1.0)
    assert time.monotonic() - began < 0.4
    with pytest.raises(asyncio.CancelledError):
        await leaving[0]
