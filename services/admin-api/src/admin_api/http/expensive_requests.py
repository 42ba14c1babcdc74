"""Limits on expensive requests, so that the requests of one caller cannot use all connections to the database.

A caller has a share: places that a request holds until its response is sent. All callers together have places that a
request holds until its response begins. So a client that does not read its response holds up only its own requests.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from admin_api.http.errors import ApiError, Busy, TooManyExpensiveRequests

QUEUE_LENGTH: Final = 20
"""Requests of one caller that may wait. Each needs memory."""
WAIT_SECONDS: Final = 5.0
_RETRY_AFTER: Final = {"Retry-After": str(math.ceil(WAIT_SECONDS))}
_CONNECTIONS_FOR_OTHERS: Final = 2
"""Connections of the pool that expensive requests leave to other requests."""


@dataclass
class _Share:
    places: asyncio.Semaphore
    requests: int = 0
    """In progress or waiting."""


class ExpensiveRequests:
    """`places` are for all callers, `share` of them for each. A request that finds none waits `wait_seconds`."""

    def __init__(
        self, places: int, share: int, *, queue_length: int = QUEUE_LENGTH, wait_seconds: float = WAIT_SECONDS
    ) -> None:
        self._places = asyncio.Semaphore(places)
        self._share = share
        self._queue_length = queue_length
        self._wait_seconds = wait_seconds
        self._callers: dict[str, _Share] = {}

    @classmethod
    def for_pool(cls, connections: int, wait_seconds: float = WAIT_SECONDS) -> "ExpensiveRequests":
        """The limits for a pool with this number of connections."""
        places = max(1, connections - _CONNECTIONS_FOR_OTHERS)
        return cls(places, max(1, places - 1), wait_seconds=wait_seconds)

    @asynccontextmanager
    async def place(self, caller: str) -> AsyncIterator[Callable[[], None]]:
        """A place for one request. The block may call the function when the response begins; see this module.

        Raises `TooManyExpensiveRequests`, `Busy`.
        """
        share = self._callers.setdefault(caller, _Share(asyncio.Semaphore(self._share)))
        if share.requests >= self._share + self._queue_length:
            raise self._too_many()
        share.requests += 1
        try:
            await self._acquire(share.places, self._too_many())
            try:
                async with self._common_place() as release:
                    yield release
            finally:
                share.places.release()
        finally:
            share.requests -= 1
            if not share.requests:
                del self._callers[caller]

    @asynccontextmanager
    async def _common_place(self) -> AsyncIterator[Callable[[], None]]:
        busy = Busy(
            "Expensive requests of other callers are in progress. Nothing was done; try again.", headers=_RETRY_AFTER
        )
        await self._acquire(self._places, busy)
        held = True

        def release() -> None:
            nonlocal held
            if held:
                held = False
                self._places.release()

        try:
            yield release
        finally:
            release()

    async def _acquire(self, places: asyncio.Semaphore, refusal: ApiError) -> None:
        try:
            async with asyncio.timeout(self._wait_seconds):
                await places.acquire()
        except TimeoutError:
            raise refusal from None

    def _too_many(self) -> ApiError:
        return TooManyExpensiveRequests(
            f"This caller has {self._share} expensive requests in progress, and others wait. Nothing was done; send "
            "fewer at once, and read their responses.",
            headers=_RETRY_AFTER,
        )
