import asyncio
import time

import pytest

from collector.exchange.rate_limiter import RateLimiter


async def test_a_single_request_starts_at_once_also_after_an_idle_time() -> None:
    rate_limiter = RateLimiter(200.0, lambda _: None)
    for _ in range(2):
        began = time.monotonic()
        await rate_limiter(1.0)
        assert time.monotonic() - began < 0.1
        await asyncio.sleep(0.25)


async def test_the_average_rate_is_kept_in_order_of_arrival() -> None:
    waits: list[float] = []
    rate_limiter, order = RateLimiter(20.0, waits.append), []

    async def request(number: int) -> None:
        await rate_limiter(2.0)
        order.append(number)

    began = time.monotonic()
    await asyncio.gather(*(request(number) for number in range(10)))
    assert (
        time.monotonic() - began >= 8 * 0.040
    )  # the first unit is free, and the cost of the last request counts afterwards
    assert order == list(range(10))
    assert waits == sorted(waits)
    assert waits[-1] >= 8 * 0.040


async def test_cancelled_requests_use_no_units() -> None:
    rate_limiter = RateLimiter(100.0, lambda _: None)
    await rate_limiter(2.0)
    cancelled = [asyncio.create_task(rate_limiter(1.0)) for _ in range(20)]
    await asyncio.sleep(0.01)
    for task in cancelled:
        task.cancel()
    began = time.monotonic()
    await rate_limiter(1.0)
    assert time.monotonic() - began < 0.4
    with pytest.raises(asyncio.CancelledError):
        await cancelled[0]
