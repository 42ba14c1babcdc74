"""Work that would hold up the event loop is done by one thread, one piece at a time."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from admin_api.http.background_work import in_background, parts_in_background

REQUEST_ID: ContextVar[str] = ContextVar("REQUEST_ID")


async def test_pieces_of_work_never_run_at_the_same_time_and_keep_their_order() -> None:
    running, order = threading.Semaphore(1), []

    def work(number: int) -> int:
        assert running.acquire(blocking=False), "another piece of work is running"
        order.append(number)
        time.sleep(0.001)  # another thread would begin the next piece meanwhile
        running.release()
        return number

    numbers = list(range(50))
    assert await asyncio.gather(*(in_background(work, number) for number in numbers)) == numbers
    assert order == numbers


async def test_work_leaves_the_event_loop_free_and_has_the_context_of_its_request() -> None:
    REQUEST_ID.set("request 1")
    may_end = threading.Event()

    def work() -> tuple[str, bool]:
        return REQUEST_ID.get(), may_end.wait(20)

    task = asyncio.create_task(in_background(work))
    asyncio.get_running_loop().call_soon(may_end.set)
    assert await task == ("request 1", True)


async def test_an_error_of_the_work_is_raised() -> None:
    def fail() -> None:
        raise ValueError("unreadable")

    with pytest.raises(ValueError, match="unreadable"):
        await in_background(fail)


async def test_other_work_comes_between_the_parts_of_a_text() -> None:
    order: list[str] = []

    def text() -> Iterator[str]:
        for part in ("a", "b", "c"):
            order.append(part)
            yield part

    parts = parts_in_background(text())
    assert await anext(parts) == "a"
    await in_background(order.append, "other")
    assert [part async for part in parts] == ["b", "c"]
    assert order == ["a", "other", "b", "c"]
