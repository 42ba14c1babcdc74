"""The cost of a request in its caller's rate limit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from admin_api.http.errors import TooManyRequests
from admin_api.http.token_bucket import TokenBuckets

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
