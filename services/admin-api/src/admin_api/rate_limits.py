"""How often one caller may ask. In the memory of this instance: with several, each allows as much."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api.access.throttle import Buckets
from admin_api.actors import Actor
from admin_api.errors import TooManyRequests
from admin_api.problems import response_of

_WINDOW_SECONDS: Final = 60
_TRIGGERS: Final = ("/trigger",)
"""How paths end that make the system work at once."""


@dataclass(frozen=True)
class RequestCost:
    """What one request takes from its caller's quota. Every request takes one before it reaches its route."""

    caller: str
    quota_name: str
    quota: int
    buckets: Buckets
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


class RateLimits:
    """Middleware, behind the gate: a limit belongs to a caller, not to an address that many may share.

    Every answer says what is left. A route that does many things raises the cost by `request.state.cost`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        requests_per_minute: int,
        triggers_per_minute: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._quotas = {"requests": requests_per_minute, "triggers": triggers_per_minute}
        self._buckets = {name: Buckets(capacity=quota, per_minute=quota) for name, quota in self._quotas.items()}
        self._monotonic = monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        actor: Actor | None = scope.get("state", {}).get("actor") if scope["type"] == "http" else None
        if actor is None:
            return await self._app(scope, receive, send)
        name = "triggers" if scope["method"] == "POST" and scope["path"].endswith(_TRIGGERS) else "requests"
        cost = RequestCost(actor.key, name, self._quotas[name], self._buckets[name], self._monotonic)
        scope["state"]["cost"] = cost

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(cost.headers(self._monotonic()))
            await send(message)

        now = self._monotonic()
        if cost.buckets.take(cost.caller, now):
            return await self._app(scope, receive, told)
        wait = cost.retry_after(now)
        refusal = TooManyRequests(
            f"This token has used up its {cost.quota} {name} per minute; try again in {wait} s.",
            headers={"Retry-After": str(wait)},
        )
        return await response_of(refusal, scope["path"])(scope, receive, told)
