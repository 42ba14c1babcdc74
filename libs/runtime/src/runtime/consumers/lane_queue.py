"""Chooses the message that starts next if there are fewer free places than waiting messages. No I/O.

Each lane has reserved places, which no other lane can take, and all lanes share further places. So slow lanes cannot
delay the start of another lane.

Within a lane there are three classes of items; see `WorkClass`. If scheduled and requested items both wait, they start
in turn: every second item that starts is a scheduled one. Requested items take at most half of the places of a lane. So
requested items cannot delay scheduled items, even if they are many or slow. And a requested item need not wait for a
long queue of scheduled items. Background items have their own places in each lane and take no others, so they delay no
other item.

An item with a key can be replaced while it waits. A new item of the same class takes its place in the order, so that
replacements do not delay a key.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from runtime.consumers.work_class import WorkClass

T = TypeVar("T")

_SCHEDULED: Final = WorkClass.SCHEDULED
_REQUESTED: Final = WorkClass.REQUESTED
_BACKGROUND: Final = WorkClass.BACKGROUND


class Place(NamedTuple):
    """The place that a started item uses."""

    lane: Hashable
    work_class: WorkClass


@dataclass
class _Lane(Generic[T]):
    """One lane: its waiting items and the number of its started items, both by class."""

    waiting: dict[WorkClass, OrderedDict[Hashable, T]] = field(
        default_factory=lambda: {each: OrderedDict() for each in WorkClass}
    )
    started: dict[WorkClass, int] = field(default_factory=lambda: dict.fromkeys(WorkClass, 0))
    last_was_requested: bool = False


class LaneQueue(Generic[T]):
    """Starts the waiting items. The lanes take turns. The place of each started item must be given to `release`."""

    def __init__(self, *, shared: int, per_lane: int, reserved: int = 0, background: int = 1) -> None:
        """`per_lane`: how many scheduled and requested items of one lane may run at the same time. `reserved`: how many
        of these items have a reserved place and need no shared place. `background`: how many background items of one
        lane may run in addition.
        """
        self._shared, self._per_lane, self._reserved = shared, per_lane, min(reserved, per_lane)
        self._background = background
        self._max_requested = max(1, per_lane // 2)
        self._only_scheduled = self._reserved // 2
        """The number of reserved places that requested items cannot take."""
        self._lanes: OrderedDict[Hashable, _Lane[T]] = OrderedDict()
        self._shared_taken = 0

    def __len__(self) -> int:
        """Number of waiting items."""
        return sum(len(items) for lane in self._lanes.values() for items in lane.waiting.values())

    def has_place(self, lane: Hashable, work_class: WorkClass = _SCHEDULED) -> bool:
        """Whether an item of this class could start now.

        If a requested item could start, a scheduled item could start, too.
        """
        return self._has_place(self._lanes.get(lane) or _Lane(), work_class)

    def add(self, lane: Hashable, item: T, work_class: WorkClass = _SCHEDULED, *, key: Hashable | None = None) -> None:
        """`key`: the item can be found and replaced by this key. It must be free in this lane."""
        self._lanes.setdefault(lane, _Lane()).waiting[work_class][object() if key is None else key] = item

    def waiting(self, lane: Hashable, key: Hashable) -> T | None:
        """The waiting item of the lane with this key."""
        items = self._items_with(lane, key)
        return None if items is None else items[key]

    def replace(self, lane: Hashable, key: Hashable, item: T, work_class: WorkClass = _SCHEDULED) -> None:
        """Put the item in the place of the waiting one with the same key. If the waiting item has another class, the
        new item goes to the end of its own class. Otherwise it would wait behind items of the other class, or start in
        one of their places.
        """
        items = self._items_with(lane, key)
        assert items is not None  # noqa: S101 -- the caller has found the item with `waiting`
        if items is not self._lanes[lane].waiting[work_class]:
            del items[key]
            items = self._lanes[lane].waiting[work_class]
        items[key] = item

    def start_next(self) -> tuple[Place, T] | None:
        """Take a place for the next item, and return both. None if no item can start now."""
        for name, lane in self._lanes.items():  # noqa: B007 -- the lane that ends the loop is used
            if (work_class := self._next_class(lane)) is not None:
                break
        else:
            return None
        _, item = lane.waiting[work_class].popitem(last=False)
        if work_class is not _BACKGROUND:
            lane.last_was_requested = work_class is _REQUESTED
        self._count(lane, work_class, 1)
        self._lanes.move_to_end(name)
        return Place(name, work_class), item

    def release(self, place: Place) -> None:
        """Release the place of an item that has ended."""
        lane = self._lanes[place.lane]
        self._count(lane, place.work_class, -1)
        self._forget_if_idle(place.lane)

    def keep_only(self, wanted: Callable[[T], bool]) -> None:
        """Remove the waiting items for which `wanted` is false."""
        for name, lane in list(self._lanes.items()):
            for work_class, items in lane.waiting.items():
                lane.waiting[work_class] = OrderedDict((key, item) for key, item in items.items() if wanted(item))
            self._forget_if_idle(name)

    def _items_with(self, lane: Hashable, key: Hashable) -> OrderedDict[Hashable, T] | None:
        if lane not in self._lanes:
            return None
        return next((items for items in self._lanes[lane].waiting.values() if key in items), None)

    def _next_class(self, lane: _Lane[T]) -> WorkClass | None:
        """The class of the item that starts next. None if none can start."""
        in_turn = (_SCHEDULED, _REQUESTED) if lane.last_was_requested else (_REQUESTED, _SCHEDULED)
        return next(
            (each for each in (*in_turn, _BACKGROUND) if lane.waiting[each] and self._has_place(lane, each)), None
        )

    def _has_place(self, lane: _Lane[T], work_class: WorkClass) -> bool:
        started = lane.started
        if work_class is _BACKGROUND:
            return started[_BACKGROUND] < self._background
        if started[_SCHEDULED] + started[_REQUESTED] >= self._per_lane:
            return False
        if work_class is _REQUESTED and started[_REQUESTED] >= self._max_requested:
            return False
        more = {**started, work_class: started[work_class] + 1}
        return self._shared_taken + self._shared_of(more) - self._shared_of(started) <= self._shared

    def _shared_of(self, started: dict[WorkClass, int]) -> int:
        """The number of shared places that these items of a lane use."""
        beyond = max(0, started[_SCHEDULED] - self._only_scheduled)
        return max(0, beyond + started[_REQUESTED] - (self._reserved - self._only_scheduled))

    def _count(self, lane: _Lane[T], work_class: WorkClass, change: int) -> None:
        before = self._shared_of(lane.started)
        lane.started[work_class] += change
        self._shared_taken += self._shared_of(lane.started) - before

    def _forget_if_idle(self, name: Hashable) -> None:
        lane = self._lanes[name]
        if not any(lane.started.values()) and not any(lane.waiting.values()):
            del self._lanes[name]
