import asyncio
import time

import pytest
from structlog.testing import capture_logs

from collector.exchange.rate_limiter import WORK_CLASS, RateLimiter
from runtime.consumers.work_class import WorkClass
from support.polling import eventually


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


async def test_requests_of_scheduled_runs_take_turns_with_a_hundred_requests_of_requested_runs() -> None:
    rate_limiter, order = RateLimiter(1.0, lambda _: None), []

    async def request(name: str, work_class: WorkClass) -> None:
        WORK_CLASS.set(work_class)
        await rate_limiter(1.0)
        order.append(name)

    requested = [asyncio.create_task(request(f"requested {number}", WorkClass.REQUESTED)) for number in range(100)]
    await asyncio.sleep(0)
    scheduled = [asyncio.create_task(request(f"scheduled {number}", WorkClass.SCHEDULED)) for number in range(5)]
    await asyncio.gather(*scheduled, *requested)
    assert [name for name in order if name.startswith("requested")] == [f"requested {number}" for number in range(100)]
    assert [name for name in order if name.startswith("scheduled")] == [f"scheduled {number}" for number in range(5)]
    assert order.index("scheduled 4") <= 12  # at most two requests had their turn before


async def test_a_turn_is_passed_on_if_its_request_is_cancelled() -> None:
    rate_limiter = RateLimiter(10.0, lambda _: None)
    holder, second, third = (asyncio.create_task(rate_limiter(20.0)) for _ in range(3))
    await asyncio.sleep(0)
    await holder
    second.cancel()  # it has the turn, and did not run since
    await asyncio.wait_for(third, 5)
    await asyncio.wait_for(rate_limiter(1.0), 5)
    assert second.cancelled()


async def test_a_live_request_goes_before_the_background_requests_that_wait_for_the_rate() -> None:
    """It is chosen when the exchange accepts another request, not when the last one was sent."""
    rate_limiter, order = RateLimiter(200.0, lambda _: None), []

    async def request(name: str, work_class: WorkClass) -> None:
        WORK_CLASS.set(work_class)
        await rate_limiter(1.0)
        order.append(name)

    waiting = [asyncio.create_task(request(f"background {number}", WorkClass.BACKGROUND)) for number in range(5)]
    await asyncio.sleep(0.01)
    assert order == ["background 0", "background 1"]  # an idle exchange accepts two
    waiting.append(asyncio.create_task(request("scheduled", WorkClass.SCHEDULED)))
    await asyncio.gather(*waiting)
    assert order.index("scheduled") == 2


async def test_a_request_that_may_not_be_sent_uses_no_units_and_lets_the_next_one_pass() -> None:
    allowed = {"value": True}

    def check() -> None:
        if not allowed["value"]:
            raise RuntimeError("the circuit is open")

    rate_limiter = RateLimiter(100.0, lambda _: None, check=check)
    for _ in range(2):
        await rate_limiter(1.0)
    waiting = [asyncio.create_task(rate_limiter(1.0)) for _ in range(20)]
    await asyncio.sleep(0)
    allowed["value"] = False
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert {str(each) for each in ended} == {"the circuit is open"}
    allowed["value"] = True
    began = time.monotonic()
    await rate_limiter(1.0)
    assert time.monotonic() - began < 0.3


async def test_requests_wait_in_order_while_another_process_may_use_the_limit() -> None:
    may_send, sent = False, []
    rate_limiter = RateLimiter(1.0, lambda _: None, may_send=lambda: may_send)

    async def request(number: int) -> None:
        await rate_limiter(1.0)
        sent.append(number)

    with capture_logs() as lines:
        requests = [asyncio.create_task(request(number)) for number in range(5)]
        await asyncio.sleep(0.3)
    assert sent == []
    assert [line["action"] for line in lines] == ["requests_held"], "one line, however long they wait"
    requests[2].cancel()
    may_send = True
    await asyncio.wait(requests, timeout=5)
    assert sent == [0, 1, 3, 4]


async def test_nothing_is_checked_any_more_when_all_held_requests_are_cancelled() -> None:
    checks = 0

    def may_send() -> bool:
        nonlocal checks
        checks += 1
        return False

    rate_limiter = RateLimiter(1.0, lambda _: None, may_send=may_send)
    request = asyncio.create_task(rate_limiter(1.0))
    await eventually(lambda: checks > 2, every=0.01)
    request.cancel()
    await asyncio.wait([request])
    await eventually(lambda: not rate_limiter._is_busy, within=2)
    before = checks
    await asyncio.sleep(0.3)
    assert checks == before


async def test_the_next_requests_wait_when_another_process_takes_over_meanwhile() -> None:
    may_send, sent = True, []
    rate_limiter = RateLimiter(20.0, lambda _: None, may_send=lambda: may_send)

    async def request(number: int) -> None:
        nonlocal may_send
        await rate_limiter(1.0)
        sent.append(number)
        may_send = number != 3

    requests = [asyncio.create_task(request(number)) for number in range(8)]
    await eventually(lambda: sent == [0, 1, 2, 3])
    await asyncio.sleep(0.3)
    assert sent == [0, 1, 2, 3]
    may_send = True
    await asyncio.wait(requests, timeout=5)
    assert sent == list(range(8))
