"""Places for the requests of each caller, so that many requests of one caller do not delay those of others."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

from admin_api.http.errors import ApiError

_LEAVE: Final = "leave_place"


@dataclass
class _Caller:
    places: asyncio.Semaphore
    requests: int = 0
    """The number of requests in progress or waiting."""


class CallerPlaces:
    """Each caller has `places` for its requests in progress. Further requests of the caller wait, in the order of their
    arrival.

    At most `queue_length` requests of a caller wait (`inf`: any number), each at most `wait_seconds`. `refusal` is the
    error of a request that cannot wait, or that has waited that long.
    """

    def __init__(
        self, places: int, *, queue_length: float, wait_seconds: float, refusal: Callable[[], ApiError]
    ) -> None:
        self._places = places
        self._queue_length = queue_length
        self._wait_seconds = wait_seconds
        self._refusal = refusal
        self._callers: dict[Hashable, _Caller] = {}

    async def acquire(self, caller: Hashable) -> Callable[[], None]:
        """Wait for a place. The returned function gives it back; further calls of it do nothing.

        Raises `ApiError`, the refusal.
        """
        state = self._callers.setdefault(caller, _Caller(asyncio.Semaphore(self._places)))
        if state.requests >= self._places + self._queue_length:
            raise self._refusal()
        state.requests += 1
        held = False

        def leave() -> None:
            nonlocal held
            if held:
                held = False
                state.places.release()
                self._forget_request(caller, state)

        try:
            async with asyncio.timeout(self._wait_seconds):
                await state.places.acquire()
            held = True
        except TimeoutError:
            raise self._refusal() from None
        finally:
            if not held:
                self._forget_request(caller, state)
        return leave

    def _forget_request(self, caller: Hashable, state: _Caller) -> None:
        state.requests -= 1
        if not state.requests:
            del self._callers[caller]


def allow_to_leave(scope: Scope, leave: Callable[[], None]) -> None:
    """Lets the rest of the application call `leave_place` for this request."""
    scope.setdefault("state", {})[_LEAVE] = leave


def leave_place(scope: Scope) -> None:
    """Release the place of a request before the request ends.

    Use this for requests that take long, use the event loop little, and have their own limit.
    """
    leave: Callable[[], None] | None = scope.get("state", {}).get(_LEAVE)
    if leave is not None:
        leave()
