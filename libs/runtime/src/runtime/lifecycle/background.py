"""A task that runs at the same time as other tasks, as long as its worker."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from runtime.lifecycle.health import Check


@dataclass(frozen=True)
class Background:
    """`run` runs until `stop` is called. If it ends by itself or raises, the worker stops.

    `stop` requests the end and returns soon. `run` then finishes the work in flight, and the worker waits for it within
    the grace period.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]
    liveness: Check | None = None
    readiness: Check | None = None
