"""Chooses the message that starts next when there is not a place for all of them. No I/O.

Each lane has reserved places, which no other lane can take, and all lanes share further places. So slow lanes cannot
delay the start of another lane.

Within a lane there are two kinds of items: scheduled ones, and requested ones, which a caller caused. If both wait,
they start in turn: every second item that starts is a scheduled one. Requested items take at most half of the places of
a lane. So neither many nor slow requested items hold up the scheduled ones, and a requested item need not wait for a
long queue of scheduled ones.

An item with a key can be replaced while it waits. The new item takes its place in the order, so that replacements do
not delay a key.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Place(NamedTuple):
    """The place of an item that has started."""

    lane: Hashable
    requested: bool


@dataclass
class _Lane(Generic[T]):
    """The waiting items of one lane, and how many have started. The keys of both dictionaries are requested or not."""

    waiting: dict[bool, OrderedDict[Hashable, T]] = field(
        default_factory=lambda: {True: OrderedDict(), False: OrderedDict()}
    )
    started: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    last_was_requested: bool = False


class LaneQueue(Generic[T]):
    """Serves the lanes with waiting items in turn. The place of each started item must be given to `release`."""

    def __init__(self, *, shared: int, per_lane: int, reserved: int = 0) -> None:
        """`per_lane`: how many items of one lane may run at the same time. `reserved`: how many of these need no shared
        place.
        """
        self._shared, self._per_lane, self._reserved = shared, per_lane, min(reserved, per_lane)
        self._max_requested = max(1, per_lane // 2)
        self._only_scheduled = self._reserved // 2
        """The number of reserved places that requested items cannot take."""
        self._lanes: OrderedDict[Hashable, _Lane[T]] = OrderedDict()
        self._shared_taken = 0

    def __len__(self) -> int:
        """Number of waiting items."""
        return sum(len(items) for lane in self._lanes.values() for items in lane.waiting.values())

    def has_place(self, lane: Hashable, *, requested: bool = False) -> bool:
        """Whether an item of this kind could start now. If a requested one could, so could a scheduled one."""
        return self._has_place(self._lanes.get(lane) or _Lane(), requested)

    def add(self, lane: Hashable, item: T, *, requested: bool = False, key: Hashable | None = None) -> None:
        """`key`: the item can be found and replaced by this key. It must be free in this lane."""
        self._lanes.setdefault(lane, _Lane()).waiting[requested][object() if key is None else key] = item

    def waiting(self, lane: Hashable, key: Hashable) -> T | None:
        """The waiting item of the lane with this key."""
        items = self._items_with(lane, key)
        return None if items is None else items[key]

    def replace(self, lane: Hashable, key: Hashable, item: T, *, requested: bool = False) -> None:
        """Put the item in the place of the waiting one with the same key. A scheduled item does not take the place of a
        requested one: it must not wait behind other requested items. It waits as if it were the first with its key.
        """
        items = self._items_with(lane, key)
        assert items is not None  # noqa: S101 -- the caller has found the item with `waiting`
        if items is self._lanes[lane].waiting[True] and not requested:
            del items[key]
            items = self._lanes[lane].waiting[False]
        items[key] = item

    def start_next(self) -> tuple[Place, T] | None:
        """Take a place for the next item, and return both. None if no item can start now."""
        for name, lane in self._lanes.items():  # noqa: B007 -- the lane that ends the loop is used
            if (requested := self._next_kind(lane)) is not None:
                break
        else:
            return None
        _, item = lane.waiting[requested].popitem(last=False)
        lane.last_was_requested = requested
        self._count(lane, requested, 1)
        self._lanes.move_to_end(name)
        return Place(name, requested), item

    def release(self, place: Place) -> None:
        """Release the place of an item that has ended."""
        lane = self._lanes[place.lane]
        self._count(lane, place.requested, -1)
        self._forget_if_idle(place.lane)

    def keep_only(self, wanted: Callable[[T], bool]) -> None:
        """Remove the waiting items for which `wanted` is false."""
        for name, lane in list(self._lanes.items()):
            for requested, items in lane.waiting.items():
                lane.waiting[requested] = OrderedDict((key, item) for key, item in items.items() if wanted(item))
            self._forget_if_idle(name)

    def _items_with(self, lane: Hashable, key: Hashable) -> OrderedDict[Hashable, T] | None:
        if lane not in self._lanes:
            return None
        return next((items for items in self._lanes[lane].waiting.values() if key in items), None)

    def _next_kind(self, lane: _Lane[T]) -> bool | None:
        """The kind of the item that starts next: requested or not. None if none can start."""
        kinds = (not lane.last_was_requested, lane.last_was_requested)
        return next((kind for kind in kinds if lane.waiting[kind] and self._has_place(lane, kind)), None)

    def _has_place(self, lane: _Lane[T], requested: bool) -> bool:
        if sum(lane.started.values()) >= self._per_lane:
            return False
        if requested and lane.started[True] >= self._max_requested:
            return False
        more = {**lane.started, requested: lane.started[requested] + 1}
        return self._shared_taken + self._shared_of(more) - self._shared_of(lane.started) <= self._shared

    def _shared_of(self, started: dict[bool, int]) -> int:
        """How many shared places these items of a lane take."""
        beyond = max(0, started[False] - self._only_scheduled)
        return max(0, beyond + started[True] - (self._reserved - self._only_scheduled))

    def _count(self, lane: _Lane[T], requested: bool, change: int) -> None:
        before = self._shared_of(lane.started)
        lane.started[requested] += change
        self._shared_taken += self._shared_of(lane.started) - before

    def _forget_if_idle(self, name: Hashable) -> None:
        lane = self._lanes[name]
        if not any(lane.started.values()) and not any(lane.waiting.values()):
            del self._lanes[name]
