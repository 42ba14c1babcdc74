"""Work that would block the event loop, such as parsing a large body. One thread does it, one piece at a time.

With more threads, the event loop would have to wait for each of them before it gets the interpreter.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
_THREAD: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="background-work")


async def in_background(function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """The result of the function. It runs after all earlier pieces of work. Raises the errors of the function."""
    context = copy_context()
    return await asyncio.get_running_loop().run_in_executor(_THREAD, context.run, function, *arguments)


async def parts_in_background(parts: Iterator[str]) -> AsyncIterator[str]:
    """The parts of a text. Each is a piece of work, so other work can come between them."""
    while (part := await in_background(next, parts, None)) is not None:
        yield part
