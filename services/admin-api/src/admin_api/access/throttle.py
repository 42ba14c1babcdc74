"""How much is allowed to whom, in the memory of this instance. Time is an argument."""

import math
from collections import OrderedDict
from datetime import datetime
from typing import Final

_REMEMBERED: Final = 10_000


class Buckets:
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

    def take(self, key: str, now: datetime, count: int = 1) -> bool:
        """Whether there were so many to take. If not, none is taken."""
        level = self._level(key, now)
        if level < min(count, self._capacity):
            return False
        self._buckets[key] = (level - count, now.timestamp())
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return True

    def give_back(self, key: str, now: datetime, count: int = 1) -> None:
        """Undo a `take` of so many."""
        self._buckets[key] = (min(self._capacity, self._level(key, now) + count), now.timestamp())

    def left(self, key: str, now: datetime) -> int:
        """How many could be taken now."""
        return max(0, math.floor(self._level(key, now)))

    def seconds_until_full(self, key: str, now: datetime) -> int:
        """0 when it is."""
        return math.ceil((self._capacity - self._level(key, now)) / self._per_second)

    def seconds_until_one(self, key: str, now: datetime) -> int:
        """0 when there is one now."""
        return self.seconds_until(key, now, 1)

    def seconds_until(self, key: str, now: datetime, count: int) -> int:
        """0 when so many can be taken now."""
        missing = min(count, self._capacity) - self._level(key, now)
        return max(0, math.ceil(missing / self._per_second))

    def __len__(self) -> int:
        return len(self._buckets)

    def _level(self, key: str, now: datetime) -> float:
        level, at = self._buckets.get(key, (self._capacity, now.timestamp()))
        passed = max(0.0, now.timestamp() - at)  # a clock set back refills nothing
        return min(self._capacity, level + passed * self._per_second)


class Seen:
    """Which credentials, by their hash, were right here before, the latest `_REMEMBERED`: never that they still are."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, credential_hash: object) -> bool:
        return credential_hash in self._hashes

    def add(self, credential_hash: bytes) -> None:
        self._hashes[credential_hash] = None
        self._hashes.move_to_end(credential_hash)
        if len(self._hashes) > _REMEMBERED:
            self._hashes.popitem(last=False)
