"""Waits until a condition is true, with a deadline instead of a fixed sleep."""

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
    """The first truthy result of `check`, which is a plain function or a coroutine function.

    An AssertionError in `check` counts as "not yet". At the deadline its message explains the missing condition.
    """
    deadline = time.monotonic() + within
    while True:
        problem: AssertionError | None = None
        result: T | None = None
        try:
            returned = check()
            result = await returned if isinstance(returned, Awaitable) else returned
        except AssertionError as error:
            problem = error
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {within:g} s: {problem or f'the last result was {result!r}'}"
            ) from problem
        await asyncio.sleep(every)
