"""Checks that an operation ends by itself within a time limit, and how it ends."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

_EXTRA_SECONDS = 2.0
"""Several operations that run at the same time slow each other down."""


async def ends(
    what: str,
    work: Awaitable[Any],
    *,
    within: float,
    raises: tuple[type[Exception], ...] = (),
    answers: object = None,
) -> None:
    """Fail unless the operation ends within `within` seconds.

    If `raises` is given, the operation must end with one of these errors. Otherwise it must succeed, and return
    `answers` if that is given. `what` names the operation in messages.
    """
    started = time.monotonic()
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([task], timeout=within + _EXTRA_SECONDS)
    assert done, f"{what}: has not ended within {within:g} s"
    error = task.exception()
    outcome = repr(task.result()) if error is None else repr(error)[:60]
    print(f"{what}: {outcome} after {time.monotonic() - started:.1f} s of {within:g}")
    assert isinstance(error, raises) if raises else error is None, f"{what}: {outcome}"
    assert answers is None or task.result() == answers
