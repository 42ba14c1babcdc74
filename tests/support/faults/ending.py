"""Whether what was begun comes to an end by itself, and how."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

_FOR_BEING_MANY = 2.0


async def ends(
    what: str,
    work: Awaitable[Any],
    *,
    within: float,
    raises: tuple[type[Exception], ...] = (),
    answers: object = None,
) -> None:
    """Require that it ends within so many seconds: with one of these errors, or well (and with this answer)."""
    began = time.monotonic()
    working = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([working], timeout=within + _FOR_BEING_MANY)
    assert done, f"{what}: not within {within:g} s"
    error = working.exception()
    said = repr(working.result()) if error is None else repr(error)[:60]
    print(f"{what}: {said} after {time.monotonic() - began:.1f} s of {within:g}")
    assert isinstance(error, raises) if raises else error is None, f"{what}: {said}"
    assert answers is None or working.result() == answers
