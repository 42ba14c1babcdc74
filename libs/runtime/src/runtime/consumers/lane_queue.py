"""Who may begin next, when there is not room for all at once. Pure.

Lanes have places of their own, which nobody else can take, and share some more. So however many lanes are stuck, the
next one begins at once; and within a lane, what is urgent overtakes what waits.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class LaneQueue(Generic[T]):
    """Lanes with someone waiting are called in turn. Whoever began must `leave`."""

    def __init__(self, *, shared: int, per_lane: int, own: int = 0) -> None:
        """`per_lane`: at a time, at most. `own`: so many of these come out of no shared place."""
        self._shared, self._per_lane, self._own = shared, per_lane, own
        self._waiting: OrderedDict[Hashable, tuple[deque[T], deque[T]]] = OrderedDict()
        self._begun: dict[Hashable, int] = {}
        self._shared_taken = 0

    def __len__(self) -> int:
        """How many wait."""
        return sum(len(urgent) + len(others) for urgent, others in self._waiting.values())

    def has_place(self, lane: Hashable) -> bool:
        begun = self._begun.get(lane, 0)
        return begun < self._per_lane and (begun < self._own or self._shared_taken < self._shared)

    def arrive(self, lane: Hashable, item: T, *, urgent: bool = False) -> None:
        self._waiting.setdefault(lane, (deque(), deque()))[0 if urgent else 1].append(item)

    def begin(self) -> tuple[Hashable, T] | None:
        """The next one that there is a place for, with its lane; the place is taken. None: nobody can begin now."""
        lane = next((lane for lane in self._waiting if self.has_place(lane)), None)
        if lane is None:
            return None
        urgent, others = self._waiting[lane]
        item = (urgent or others).popleft()
        if urgent or others:
            self._waiting.move_to_end(lane)
        else:
            del self._waiting[lane]
        begun = self._begun.get(lane, 0)
        self._shared_taken += begun >= self._own
        self._begun[lane] = begun + 1
        return lane, item

    def leave(self, lane: Hashable) -> None:
        """One that began in this lane has ended."""
        left = self._begun[lane] - 1
        self._shared_taken -= left >= self._own
        if left:
            self._begun[lane] = left
        else:
            del self._begun[lane]

    def keep(self, wanted: Callable[[T], bool]) -> None:
        """Send those away who wait and are not wanted any more."""
        for lane, queues in list(self._waiting.items()):
            urgent, others = (deque(filter(wanted, queue)) for queue in queues)
            if urgent or others:
                self._waiting[lane] = urgent, others
            else:
                del self._waiting[lane]
