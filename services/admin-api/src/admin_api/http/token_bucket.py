"""Token buckets: how many requests each key may make, in the memory of this instance.

`now` is in seconds of the monotonic clock: a step back of the wall clock would freeze every bucket for the size of the
step.
"""

import math
from collections import OrderedDict


class TokenBuckets:
    """Each key may take `capacity` at once and `per_minute` from then on. Of more than `max_keys` keys the one that
    took longest ago is forgotten.

    A full bucket allows any number to be taken. If that is more than `capacity`, the level is below zero afterwards,
    and nothing can be taken until it is refilled.
    """

    def __init__(self, *, capacity: int, per_minute: float, max_keys: int = 10_000) -> None:
        self._capacity = float(capacity)
        self._per_second = per_minute / 60
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """The level and when it was that, the latest taker last."""

    def take(self, key: str, now: float, count: int = 1) -> bool:
        """Whether `count` were left to take. If not, none is taken."""
        level = self._level(key, now)
        if level < min(count, self._capacity):
            return False
        self._set(key, level - count, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return True

    def give_back(self, key: str, now: float, count: int = 1) -> None:
        """Undo a `take` of `count`."""
        self._set(key, min(self._capacity, self._level(key, now) + count), now)

    def left(self, key: str, now: float) -> int:
        """How many could be taken now."""
        return max(0, math.floor(self._level(key, now)))

    def seconds_until_full(self, key: str, now: float) -> int:
        """0 when it is."""
        return math.ceil((self._capacity - self._level(key, now)) / self._per_second)

    def seconds_until_one(self, key: str, now: float) -> int:
        """0 when there is one now."""
        return self.seconds_until(key, now, 1)

    def seconds_until(self, key: str, now: float, count: int) -> int:
        """0 when so many can be taken now."""
        missing = min(count, self._capacity) - self._level(key, now)
        return max(0, math.ceil(missing / self._per_second))

    def __len__(self) -> int:
        return len(self._buckets)

    def _set(self, key: str, level: float, now: float) -> None:
        """The time of a level never goes back: an earlier reading of the clock would refill the bucket twice."""
        _, at = self._buckets.get(key, (level, now))
        self._buckets[key] = (level, max(at, now))

    def _level(self, key: str, now: float) -> float:
        level, at = self._buckets.get(key, (self._capacity, now))
        passed = max(0.0, now - at)  # requests read the clock first and may take in another order
        return min(self._capacity, level + passed * self._per_second)
