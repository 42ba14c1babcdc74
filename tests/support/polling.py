"""Waits until a condition is true, with a deadline instead of a fixed sleep."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.1
_SHARE_OF_WAIT = 0.05


@overload
async def eventually(
    check: Callable[[], Awaitable[T | None]], *, within: float = 10.0, every: float | None = None
) -> T: ...
@overload
async def eventually(check: Callable[[], T | None], *, within: float = 10.0, every: float | None = None) -> T: ...
async def eventually(
    check: Callable[[], T | Awaitable[T | None] | None], *, within: float = 10.0, every: float | None = None
) -> T:
    """The first truthy result of `check`, which is a plain function or a coroutine function.

    An AssertionError in `check` counts as "not yet". At the deadline its message explains the missing condition.
    Without `every`, the pauses grow from 20 to 100 ms. Otherwise a check that sends a request would take most of the
    processor during a long wait.
    """
    began = time.monotonic()
    deadline = began + within
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
        await asyncio.sleep(_pause(time.monotonic() - began) if every is None else every)


def _pause(waited: float) -> float:
    return min(_LONGEST_PAUSE, max(_FIRST_PAUSE, waited * _SHARE_OF_WAIT))
