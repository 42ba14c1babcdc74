"""Measures the duration of a repeated call."""

import time
from collections.abc import Awaitable, Callable
from statistics import quantiles
from typing import Any


async def milliseconds(call: Callable[[], Awaitable[Any]], rounds: int) -> tuple[list[float], Any]:
    """Return the milliseconds of each call after one warm-up call, and the last result."""
    result = await call()
    durations = []
    for _ in range(rounds):
        started = time.perf_counter()
        result = await call()
        durations.append((time.perf_counter() - started) * 1000)
    return durations, result


def spread(durations: list[float]) -> str:
    return f"p95 {quantiles(durations, n=20)[-1]:.1f} ms"
