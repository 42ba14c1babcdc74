"""The order of the requests that wait for the rate limit of an exchange. No I/O and no clock."""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from runtime.consumers.work_class import WorkClass

T = TypeVar("T", bound=Hashable)

_LIVE: Final = (WorkClass.SCHEDULED, WorkClass.REQUESTED)


class RequestQueue(Generic[T]):
    """Chooses the request that is sent next.

    Requests of scheduled and of requested runs are live requests. If both wait, they take turns. So scheduled runs
    always have at least half of the rate of the live requests, no matter how many runs callers request.

    Background requests are sent while no live request waits. While both kinds wait, live requests are sent first, and
    background requests get at most their share of the units. The units of a request are counted if the other kind
    waits; otherwise the count starts again. While both kinds wait, two background requests never follow each other, so
    that live requests get turns even with a share of 1.
    """

    def __init__(self, background_share: float) -> None:
        """`background_share`: more than 0, at most 1."""
        self._share = background_share
        self._waiting: dict[WorkClass, dict[T, float]] = {each: {} for each in WorkClass}
        """Requests with their units, in order of arrival."""
        self._last_live = WorkClass.SCHEDULED
        self._live_units = self._background_units = 0.0
        """Sent since the last request that did not compete with one of the other kind."""
        self._last_was_background = True

    def __len__(self) -> int:
        """Number of waiting requests."""
        return sum(map(len, self._waiting.values()))

    def add(self, request: T, work_class: WorkClass, units: float) -> None:
        self._waiting[work_class][request] = units

    def discard(self, request: T, work_class: WorkClass) -> None:
        """Remove a request that no longer waits."""
        self._waiting[work_class].pop(request, None)

    def take(self) -> T | None:
        """Remove and return the request that is sent next. None if no request waits."""
        if (work_class := self._next_class()) is None:
            return None
        request = next(iter(self._waiting[work_class]))
        del self._waiting[work_class][request]
        return request

    def count_sent(self, work_class: WorkClass, units: float) -> None:
        """Count a request that is sent now. Call it before the next `take`."""
        is_background = work_class is WorkClass.BACKGROUND
        if not is_background:
            self._last_live = work_class
        if not (self._live_class() if is_background else self._waiting[WorkClass.BACKGROUND]):
            self._live_units = self._background_units = 0.0
            self._last_was_background = True
            return
        self._last_was_background = is_background
        if is_background:
            self._background_units += units
        else:
            self._live_units += units

    def _next_class(self) -> WorkClass | None:
        live, background = self._live_class(), self._waiting[WorkClass.BACKGROUND]
        if not background:
            return live
        if live is None or self._may_send_background(next(iter(background.values()))):
            return WorkClass.BACKGROUND
        return live

    def _live_class(self) -> WorkClass | None:
        """The class of the live request that is sent next. None if no live request waits."""
        in_turn = _LIVE if self._last_live is WorkClass.REQUESTED else reversed(_LIVE)
        return next((each for each in in_turn if self._waiting[each]), None)

    def _may_send_background(self, units: float) -> bool:
        """Whether background requests still keep to their share if this one is sent."""
        background = self._background_units + units
        return not self._last_was_background and background <= self._share * (background + self._live_units)
