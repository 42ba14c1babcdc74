"""A task that runs beside the others for as long as its worker lives."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from runtime.lifecycle.health import Check


@dataclass(frozen=True)
class Background:
    """`run` goes on until `stop` is called; when it ends by itself, or raises, the worker goes down.

    `stop` asks it to finish what it has in hand and returns soon; the worker then waits for `run` within its grace.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]
    liveness: Check | None = None
    readiness: Check | None = None
