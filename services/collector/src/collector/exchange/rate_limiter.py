"""The rate limit of an exchange, shared by all requests to it."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

_BURST_UNITS: Final = 1.0


class RateLimiter:
    """Replaces ccxt's rate limiter. The average rate is the same: `cost * rate_ms` per request, in order of arrival.

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
        self._turn = asyncio.Lock()
        self.loop: object = None  # ccxt assigns its event loop

    async def __call__(self, cost: float | None = None) -> None:
        began = self._now()
        async with self._turn:
            self._check()
            self._next_free = max(self._next_free, self._now() - _BURST_UNITS * self._rate)
            if (wait := self._next_free - self._now()) > 0:
                await asyncio.sleep(wait)  # a request that is cancelled here has used no units
                self._check()
            self._next_free += (1.0 if cost is None else cost) * self._rate
        self._on_wait(self._now() - began)
