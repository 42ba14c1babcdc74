"""A watchdog for the event loop: detects code that blocks it."""

import asyncio
import time
from types import TracebackType
from typing import Self

_BEAT_SECONDS = 1.0


class EventLoopWatchdog:
    """While it is entered, it sets a timestamp every second. If the timestamp is old, some code has blocked the
    loop.
    """

    def __init__(self, limit_seconds: float = 30.0) -> None:
        self._limit = limit_seconds
        self._last = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._beat()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def problem(self) -> str | None:
        """A check for `Health.liveness`: None while the event loop runs."""
        age = time.monotonic() - self._last
        return f"the event loop was blocked for {age:.0f} s" if age > self._limit else None

    def _beat(self) -> None:
        self._last = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(_BEAT_SECONDS, self._beat)
