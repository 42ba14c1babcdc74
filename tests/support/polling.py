"""Waiting for something to become true, with a deadline instead of a sleep."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(check: Callable[[], Awaitable[T | None]], *, within: float = 10.0, every: float = 0.02) -> T: ...
@overload
async def eventually(check: Callable[[], T | None], *, within: float = 10.0, every: float = 0.02) -> T: ...
async def eventually(
    check: Callable[[], T | Awaitable[T | None] | None], *, within: float = 10.0, every: float = 0.02
) -> T:
    """The first truthy answer of `check` (a plain function or a coroutine function). An AssertionError in it counts as
    "not yet", so its asserts explain what was still missing when time runs out.
    """
    deadline = time.monotonic() + within
    while True:
        problem: AssertionError | None = None
        answer: T | None = None
        try:
            answered = check()
            answer = await answered if isinstance(answered, Awaitable) else answered
        except AssertionError as error:
            problem = error
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {within:g} s: {problem or f'the last answer was {answer!r}'}"
            ) from problem
        await asyncio.sleep(every)
