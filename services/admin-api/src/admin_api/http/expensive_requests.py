"""Limits on expensive requests, so that the requests of one caller cannot use all connections to the database.

There are two kinds of places. Each caller has a share of places, which a request holds until its response is sent. All
callers together have places that a request holds until its response begins. So a client that does not read its response
delays only its own requests.
"""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from admin_api.http.caller_places import CallerPlaces
from admin_api.http.errors import ApiError, Busy, TooManyExpensiveRequests

QUEUE_LENGTH: Final = 20
"""The largest number of waiting requests per caller. It is limited, because each of them needs memory."""
WAIT_SECONDS: Final = 5.0
_RETRY_AFTER: Final = {"Retry-After": str(math.ceil(WAIT_SECONDS))}
_ALL_CALLERS: Final = "all callers"
_CONNECTIONS_FOR_OTHERS: Final = 2
"""The number of connections of the pool that are reserved for other requests."""


class ExpensiveRequests:
    """`places` is the number of places for all callers together, `share` the number for one caller.

    If no place is free, a request waits at most `wait_seconds`.
    """

    def __init__(
        self, places: int, share: int, *, queue_length: int = QUEUE_LENGTH, wait_seconds: float = WAIT_SECONDS
    ) -> None:
        self._share = share
        self._places = CallerPlaces(places, queue_length=math.inf, wait_seconds=wait_seconds, refusal=_busy)
        self._shares = CallerPlaces(share, queue_length=queue_length, wait_seconds=wait_seconds, refusal=self._too_many)

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
        leave_share = await self._shares.acquire(caller)
        try:
            leave = await self._places.acquire(_ALL_CALLERS)
            try:
                yield leave
            finally:
                leave()
        finally:
            leave_share()

    def _too_many(self) -> ApiError:
        return TooManyExpensiveRequests(
            f"This caller has {self._share} expensive requests in progress, and others wait. Nothing was done; send "
            "fewer at once, and read their responses.",
            headers=_RETRY_AFTER,
        )


def _busy() -> ApiError:
    return Busy(
        "Expensive requests of other callers are in progress. Nothing was done; try again.", headers=_RETRY_AFTER
    )
