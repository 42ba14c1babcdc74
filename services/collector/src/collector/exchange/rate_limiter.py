"""An exchange's rate limit, shared by all who ask it."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

_BURST_UNITS: Final = 1.0


class RateLimiter:
    """Takes the place of ccxt's own: the same rate in the long run (`cost * rate_ms` per request, first come, first
    served), but it refills while idle, so that a lone request starts at once; it does not poll; and a waiter that is
    cancelled costs nothing. ccxt's delays every lone call (Kraken by 1.2 s) and bills cancelled waiters.
    """

    def __init__(
        self,
        rate_ms: float,
        waited: Callable[[float], None],
        now: Callable[[], float] = time.monotonic,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`waited` is told the seconds of every wait, zero included. `check` raises to turn a waiter back, at no cost:
        those who queued up before a ban do not stand in the way of the probe.
        """
        self._check = check
        self._rate = rate_ms / 1000
        self._waited = waited
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
                await asyncio.sleep(wait)  # a waiter that is cancelled here has taken nothing
                self._check()
            self._next_free += (1.0 if cost is None else cost) * self._rate
        self._waited(self._now() - began)
