"""The rate limit of an exchange, shared by all requests to it."""

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from collector.exchange.request_queue import RequestQueue
from runtime.consumers.work_class import WorkClass
from runtime.logs import log

DEFAULT_BACKGROUND_SHARE: Final = 0.2
_BURST_UNITS: Final = 1.0
_HELD_CHECK_SECONDS: Final = 0.1
"""The interval of the checks whether requests may be sent again."""

WORK_CLASS: ContextVar[WorkClass] = ContextVar("work_class", default=WorkClass.SCHEDULED)
"""The class of the current run. It decides the order of its requests."""


class RateLimiter:
    """Replaces ccxt's rate limiter. The average rate is the same: `cost * rate_ms` per request.

    If several requests wait, `RequestQueue` chooses the next one by the `WORK_CLASS` of its run, at the moment when the
    exchange accepts another request. So a live request never waits for a background request that arrived earlier,
    unless that request was already sent.

    ccxt's own delays every single request (Kraken's by 1.2 s), polls, and counts cancelled requests. This limiter saves
    up to one unit while it is idle, so that a single request starts at once. It does not poll, except while `may_send`
    is false. A request that is cancelled while it waits uses no units.
    """

    def __init__(
        self,
        rate_ms: float,
        on_wait: Callable[[float], None],
        now: Callable[[], float] = time.monotonic,
        check: Callable[[], None] = lambda: None,
        *,
        may_send: Callable[[], bool] = lambda: True,
        background_share: float = DEFAULT_BACKGROUND_SHARE,
    ) -> None:
        """`on_wait` is called with the seconds of every wait, including zero. `check` raises if the request must not be
        sent. Such a request uses no units, so requests that were queued before a ban do not delay the probe.
        While `may_send` is false, requests wait: another process may use the limit of the exchange now.
        `background_share`: see `RequestQueue`.
        """
        self._check, self._may_send = check, may_send
        self._rate = rate_ms / 1000
        self._on_wait = on_wait
        self._now = now
        self._next_free = 0.0
        self._queue = RequestQueue[asyncio.Future[None]](background_share)
        self._is_busy = False
        """Whether a request has its turn, or a timer will choose the next one."""
        self._is_held = False
        """Whether requests wait because `may_send` is false."""
        self.loop: object = None  # ccxt assigns its event loop

    async def __call__(self, cost: float | None = None) -> None:
        began, units, work_class = self._now(), 1.0 if cost is None else cost, WORK_CLASS.get()
        self._check()
        if self._is_busy or self._seconds_until_free() > 0 or not self._may_send():
            await self._wait_for_turn(work_class, units)
        self._is_busy = True
        try:
            self._check()
            self._next_free = max(self._next_free, self._now() - _BURST_UNITS * self._rate) + units * self._rate
            self._queue.count_sent(work_class, units)
        finally:
            self._pass_on()
        self._on_wait(self._now() - began)

    async def _wait_for_turn(self, work_class: WorkClass, units: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.add(turn, work_class, units)
        if not self._is_busy:
            self._pass_on()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # this request was chosen just before the cancellation
                self._pass_on()
            else:
                self._queue.discard(turn, work_class)
            raise

    def _seconds_until_free(self) -> float:
        return self._next_free - self._now()

    def _pass_on(self) -> None:
        """Choose the next request now, or when the exchange accepts another one."""
        self._is_busy = len(self._queue) > 0
        if not self._is_busy:
            return
        if (wait := self._seconds_until_free()) > 0:
            asyncio.get_running_loop().call_later(wait, self._choose_if_permitted)
        else:
            self._choose_if_permitted()

    def _choose_if_permitted(self) -> None:
        if self._may_send() or not len(self._queue):
            self._is_held = False
            self._choose_next()
            return
        if not self._is_held:
            self._is_held = True
            log.warning("Requests wait until the consumer group confirms this collector", action="requests_held")
        asyncio.get_running_loop().call_later(_HELD_CHECK_SECONDS, self._choose_if_permitted)

    def _choose_next(self) -> None:
        while (turn := self._queue.take()) is not None:
            if not turn.done():  # a request whose future is done was cancelled
                turn.set_result(None)
                return
        self._is_busy = False
