"""The quota of each caller, as token buckets, and what a request takes from it.

`now` is in seconds of the monotonic clock: a step back of the wall clock would freeze every bucket for the size of the
step.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from admin_api.http.errors import TooManyRequests


class TokenBuckets:
    """One bucket per key, with `capacity` tokens and a refill of `per_minute`.

    If there are more than `max_keys` keys, the one with the oldest `take` is removed. A full bucket allows any
    number of tokens to be taken. If that is more than `capacity`, the level is negative afterwards, and nothing can be
    taken until it is positive again.
    """

    def __init__(self, *, capacity: int, per_minute: float, max_keys: int = 10_000) -> None:
        self._capacity = float(capacity)
        self._per_second = per_minute / 60
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """The level of each key and its time. The key with the latest `take` is last."""

    def take(self, key: str, now: float, count: int = 1) -> bool:
        """Take `count` tokens. Returns False and takes none if fewer are left."""
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
        """The number of tokens that can be taken now."""
        return max(0, math.floor(self._level(key, now)))

    def seconds_until_full(self, key: str, now: float) -> int:
        """0 if the bucket is full."""
        return math.ceil((self._capacity - self._level(key, now)) / self._per_second)

    def seconds_until_one(self, key: str, now: float) -> int:
        """The seconds until one token can be taken; 0 if it can be taken now."""
        return self.seconds_until(key, now, 1)

    def seconds_until(self, key: str, now: float, count: int) -> int:
        """The seconds until `count` tokens can be taken; 0 if they can be taken now."""
        missing = min(count, self._capacity) - self._level(key, now)
        return max(0, math.ceil(missing / self._per_second))

    def __len__(self) -> int:
        return len(self._buckets)

    def _set(self, key: str, level: float, now: float) -> None:
        """Never stores an earlier time than before, because that would refill the bucket twice."""
        _, at = self._buckets.get(key, (level, now))
        self._buckets[key] = (level, max(at, now))

    def _level(self, key: str, now: float) -> float:
        level, at = self._buckets.get(key, (self._capacity, now))
        elapsed = max(0.0, now - at)  # requests read the clock earlier, so they may arrive here in another order
        return min(self._capacity, level + elapsed * self._per_second)


_WINDOW_SECONDS: Final = 60


@dataclass(frozen=True)
class RequestCost:
    """The cost of one request. Every request costs one unit, which is taken before the request reaches its route."""

    caller: str
    quota_name: str
    quota: int
    buckets: TokenBuckets
    monotonic: Callable[[], float]

    def count_as(self, requests: int) -> None:
        """Count this request as `requests` requests, because it does the work of one request per config.

        Raises `TooManyRequests` if fewer are left. Then the request costs nothing.
        """
        if requests <= 1:
            return
        now = self.monotonic()
        self.buckets.give_back(self.caller, now)
        if self.buckets.take(self.caller, now, requests):
            return
        left, wait = self.buckets.left(self.caller, now), self.retry_after(now, requests)
        raise TooManyRequests(
            f"This request counts as {requests} {self.quota_name}, and {left} of {self.quota} per minute are left. "
            f"Nothing was changed. Try again in {wait} s, or select fewer configs.",
            headers={"Retry-After": str(wait)},
        )

    def retry_after(self, now: float, requests: int = 1) -> int:
        """The seconds until `requests` are available, at least one."""
        return max(1, self.buckets.seconds_until(self.caller, now, requests))

    def headers(self, now: float) -> dict[str, str]:
        """The headers of draft-ietf-httpapi-ratelimit-headers."""
        left, full = self.buckets.left(self.caller, now), self.buckets.seconds_until_full(self.caller, now)
        return {
            "RateLimit-Policy": f'"{self.quota_name}";q={self.quota};w={_WINDOW_SECONDS}',
            "RateLimit": f'"{self.quota_name}";r={left};t={full}',
        }
