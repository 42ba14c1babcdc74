"""The quota of each caller, as token buckets, and what a request takes from it.

`now` is in seconds of the monotonic clock. If the wall clock were used and set back, no bucket would be refilled until
it reaches its earlier time again.
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
        elapsed = max(0.0, now - at)  # requests have read the clock before, so they may arrive here in another order
        return min(self._capacity, level + elapsed * self._per_second)


_WINDOW_SECONDS: Final = 60


@dataclass(frozen=True)
class Quota:
    """The limit of each caller per minute. A caller may use all of it at once."""

    name: str
    limit: int
    buckets: TokenBuckets

    @classmethod
    def of(cls, name: str, per_minute: int) -> "Quota":
        return cls(name, per_minute, TokenBuckets(capacity=per_minute, per_minute=per_minute))


class RequestCost:
    """The cost of one HTTP request: it counts as at least one request, and each run that it starts is also counted.

    If a part of the cost is counted again, for example in a second attempt, the new number replaces the earlier one.
    """

    def __init__(self, caller: str, requests: Quota, runs: Quota, monotonic: Callable[[], float]) -> None:
        self._caller, self._requests, self._runs, self._monotonic = caller, requests, runs, monotonic
        self._taken: dict[str, int] = {}
        """By the name of the quota. It has an entry for each quota that this request needs."""

    def count_requests(self, requests: int) -> None:
        """Count this request as `requests` requests, because it does the work of one request per config.

        Raises `TooManyRequests` if fewer are left. Then the request costs one request.
        """
        self._count(self._requests, max(1, requests))

    def count_runs(self, runs: int) -> None:
        """Count the runs that this request starts: manual and initial ones. Call it before the first write.

        Raises `TooManyRequests` if fewer are left. Then the request costs one request.
        """
        if runs:
            self._count(self._runs, runs)

    def cancel_runs(self) -> None:
        """Undo `count_runs`, because the request has failed and starts no run."""
        self._give_back(self._runs)

    def headers(self) -> dict[str, str]:
        """The headers of draft-ietf-httpapi-ratelimit-headers, with each quota that this request needs."""
        now, caller = self._monotonic(), self._caller
        quotas = [quota for quota in (self._runs, self._requests) if quota.name in self._taken]
        left = [(each, each.buckets.left(caller, now), each.buckets.seconds_until_full(caller, now)) for each in quotas]
        return {
            "RateLimit-Policy": ", ".join(f'"{quota.name}";q={quota.limit};w={_WINDOW_SECONDS}' for quota in quotas),
            "RateLimit": ", ".join(f'"{quota.name}";r={rest};t={full}' for quota, rest, full in left),
        }

    def _count(self, quota: Quota, count: int) -> None:
        now = self._monotonic()
        self._give_back(quota)
        if quota.buckets.take(self._caller, now, count):
            self._taken[quota.name] = count
            return
        self._taken[quota.name] = 0
        left, wait = quota.buckets.left(self._caller, now), quota.buckets.seconds_until(self._caller, now, count)
        self._give_back(self._runs)
        self._give_back(self._requests)
        if self._requests.buckets.take(self._caller, now):
            self._taken[self._requests.name] = 1
        raise _refusal(quota, count, left, max(1, wait))

    def _give_back(self, quota: Quota) -> None:
        if quota.name in self._taken:
            quota.buckets.give_back(self._caller, self._monotonic(), self._taken[quota.name])
            self._taken[quota.name] = 0


def _refusal(quota: Quota, count: int, left: int, wait: int) -> TooManyRequests:
    if count == 1:
        detail = f"This token has used up its {quota.limit} {quota.name} per minute; try again in {wait} s."
    else:
        detail = (
            f"This request counts as {count} {quota.name}, and {left} of {quota.limit} per minute are left. "
            f"Nothing was changed. Try again in {wait} s, or select fewer configs."
        )
    return TooManyRequests(detail, headers={"Retry-After": str(wait)})
