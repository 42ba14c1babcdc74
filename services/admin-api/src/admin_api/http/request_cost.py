"""What a request takes from the quota of its caller."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from admin_api.http.errors import TooManyRequests
from admin_api.http.token_bucket import TokenBuckets

_WINDOW_SECONDS: Final = 60


@dataclass(frozen=True)
class RequestCost:
    """What one request takes from its caller's quota. Every request takes one before it reaches its route."""

    caller: str
    quota_name: str
    quota: int
    buckets: TokenBuckets
    monotonic: Callable[[], float]

    def count_as(self, requests: int) -> None:
        """Count this request as so many instead of one: it does on many configs what else is a request for each.

        Raises `TooManyRequests` if fewer are left. Then nothing is taken, not even the one.
        """
        if requests <= 1:
            return
        now = self.monotonic()
        self.buckets.give_back(self.caller, now)
        if self.buckets.take(self.caller, now, requests):
            return
        left, wait = self.buckets.left(self.caller, now), self.retry_after(now, requests)
        raise TooManyRequests(
            f"This request counts as {requests} {self.quota_name}. Of the {self.quota} per minute {left} are left; "
            f"nothing was done. Try again in {wait} s, or select fewer.",
            headers={"Retry-After": str(wait)},
        )

    def retry_after(self, now: float, requests: int = 1) -> int:
        """Seconds, at least one."""
        return max(1, self.buckets.seconds_until(self.caller, now, requests))

    def headers(self, now: float) -> dict[str, str]:
        """What is left, as draft-ietf-httpapi-ratelimit-headers has it."""
        left, full = self.buckets.left(self.caller, now), self.buckets.seconds_until_full(self.caller, now)
        return {
            "RateLimit-Policy": f'"{self.quota_name}";q={self.quota};w={_WINDOW_SECONDS}',
            "RateLimit": f'"{self.quota_name}";r={left};t={full}',
        }
