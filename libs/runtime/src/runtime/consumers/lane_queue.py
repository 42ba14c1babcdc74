"""Chooses the message that starts next when there is not a place for all of them. No I/O.

Each lane has reserved places, which no other lane can take, and all lanes share further places. So slow lanes cannot
delay the start of another lane. Within a lane, urgent messages overtake the waiting ones.

An item with a key can be replaced while it waits. The new item takes its place in the order, so that replacements do
not delay a key.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class LaneQueue(Generic[T]):
    """Serves the lanes with waiting items in turn. Each started item must be ended with `release`."""

    def __init__(self, *, shared: int, per_lane: int, reserved: int = 0) -> None:
        """`per_lane`: how many items of one lane may run at the same time. `reserved`: how many of these need no shared
        place.
        """
        self._shared, self._per_lane, self._reserved = shared, per_lane, reserved
        self._waiting: OrderedDict[Hashable, tuple[deque[T], OrderedDict[Hashable, T]]] = OrderedDict()
        self._started: dict[Hashable, int] = {}
        self._shared_taken = 0

    def __len__(self) -> int:
        """Number of waiting items."""
        return sum(len(urgent) + len(others) for urgent, others in self._waiting.values())

    def has_place(self, lane: Hashable) -> bool:
        started = self._started.get(lane, 0)
        return started < self._per_lane and (started < self._reserved or self._shared_taken < self._shared)

    def add(self, lane: Hashable, item: T, *, urgent: bool = False, key: Hashable | None = None) -> None:
        """`key`: the item can be found and replaced by this key. It must be free in this lane."""
        first, others = self._waiting.setdefault(lane, (deque(), OrderedDict()))
        if urgent:
            first.append(item)
        else:
            others[object() if key is None else key] = item

    def waiting(self, lane: Hashable, key: Hashable) -> T | None:
        """The waiting item of the lane with this key."""
        return self._waiting[lane][1].get(key) if lane in self._waiting else None

    def replace(self, lane: Hashable, key: Hashable, item: T) -> None:
        """Put the item in the place of the waiting one with the same key."""
        self._waiting[lane][1][key] = item

    def start_next(self) -> tuple[Hashable, T] | None:
        """Take a place for the next item, and return the item with its lane. None if no item can start now."""
        lane = next((lane for lane in self._waiting if self.has_place(lane)), None)
        if lane is None:
            return None
        urgent, others = self._waiting[lane]
        item = urgent.popleft() if urgent else others.popitem(last=False)[1]
        if urgent or others:
            self._waiting.move_to_end(lane)
        else:
            del self._waiting[lane]
        started = self._started.get(lane, 0)
        self._shared_taken += started >= self._reserved
        self._started[lane] = started + 1
        return lane, item

    def release(self, lane: Hashable) -> None:
        """Release the place of an item that has ended."""
        remaining = self._started[lane] - 1
        self._shared_taken -= remaining >= self._reserved
        if remaining:
            self._started[lane] = remaining
        else:
            del self._started[lane]

    def keep_only(self, wanted: Callable[[T], bool]) -> None:
        """Remove the waiting items for which `wanted` is false."""
        for lane, (urgent, others) in list(self._waiting.items()):
            kept = OrderedDict((key, item) for key, item in others.items() if wanted(item))
            if kept or any(map(wanted, urgent)):
                self._waiting[lane] = deque(filter(wanted, urgent)), kept
            else:
                del self._waiting[lane]
