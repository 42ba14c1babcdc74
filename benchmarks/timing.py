"""How long something takes that is asked for again and again."""

import time
from collections.abc import Awaitable, Callable
from statistics import quantiles
from typing import Any


async def milliseconds(ask: Callable[[], Awaitable[Any]], rounds: int) -> tuple[list[float], Any]:
    """How long each took, after one that warms up, and the last answer."""
    answer = await ask()
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        answer = await ask()
        took.append((time.perf_counter() - began) * 1000)
    return took, answer


def spread(took: list[float]) -> str:
    return f"p95 {quantiles(took, n=20)[-1]:.1f} ms"
