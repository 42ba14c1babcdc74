"""The rate limit of an exchange, shared by all requests to it."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

_BURST_UNITS: Final = 1.0

REQUESTED: ContextVar[bool] = ContextVar("requested", default=False)
"""Whether the current run is a requested one (manual or initial). Its requests do not delay those of scheduled runs by
more than one turn each."""


class RateLimiter:
    """Replaces ccxt's rate limiter. The average rate is the same: `cost * rate_ms` per request.

    Requests of scheduled runs and of requested runs (see `REQUESTED`) wait in two queues, each in order of arrival. If
    both wait, they take turns. So scheduled runs always have at least half of the rate, however many runs callers
    request.

    ccxt's own delays every single request (Kraken's by 1.2 s), polls, and counts cancelled requests. This one gains one
    unit while it is idle, so that a single request starts at once. It does not poll, and a request that is cancelled
    while it waits uses no units.
    """

    def __init__(
        self,
        rate_ms: float,
        on_wait: Callable[[float], None],
        now: Callable[[], float] = time.monotonic,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_wait` is called with the seconds of every wait, also if they are zero. `check` raises if the request must
        not be sent; it then uses no units. So requests that were queued before a ban do not delay the probe.
        """
        self._check = check
        self._rate = rate_ms / 1000
        self._on_wait = on_wait
        self._now = now
        self._next_free = 0.0
        self._turns = _Turns()
        self.loop: object = None  # ccxt assigns its event loop

    async def __call__(self, cost: float | None = None) -> None:
        began = self._now()
        async with self._turns.turn(requested=REQUESTED.get()):
            self._check()
            self._next_free = max(self._next_free, self._now() - _BURST_UNITS * self._rate)
            if (wait := self._next_free - self._now()) > 0:
                await asyncio.sleep(wait)  # a request that is cancelled here has used no units
                self._check()
            self._next_free += (1.0 if cost is None else cost) * self._rate
        self._on_wait(self._now() - began)


class _Turns:
    """A lock with two queues of waiting tasks, which get the lock alternately."""

    def __init__(self) -> None:
        self._waiting: dict[bool, deque[asyncio.Future[None]]] = {True: deque(), False: deque()}
        self._taken = False
        self._last_was_requested = False

    @asynccontextmanager
    async def turn(self, *, requested: bool) -> AsyncIterator[None]:
        """Hold the lock within the block."""
        if self._taken:
            await self._wait(requested)
        self._taken, self._last_was_requested = True, requested
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, requested: bool) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[requested].append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # the lock was passed on to this task in the same moment
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give the lock to the next task that still waits, first to one of the other kind. Otherwise free it."""
        for kind in (not self._last_was_requested, self._last_was_requested):
            while self._waiting[kind]:
                if not (next_turn := self._waiting[kind].popleft()).done():
                    next_turn.set_result(None)
                    self._last_was_requested = kind
                    return
        self._taken = False
