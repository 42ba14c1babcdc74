"""Limits on the requests of one caller. They are in memory, so each instance has its own."""

import time
from collections.abc import Callable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api.http.errors import TooManyRequests
from admin_api.http.problems import response_of
from admin_api.http.request_cost import RequestCost, TokenBuckets
from admin_api.writes.actors import Actor

_TRIGGERS: Final = ("/trigger",)
"""Ends of the paths that start runs."""


class RateLimitMiddleware:
    """Limits the requests of each caller. It runs inside the authentication middleware, because many callers may share
    one address.

    The headers of every response say how much is left. A bulk route raises its cost by `request.state.cost`.
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
        self._buckets = {name: TokenBuckets(capacity=quota, per_minute=quota) for name, quota in self._quotas.items()}
        self._monotonic = monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        actor: Actor | None = scope.get("state", {}).get("actor") if scope["type"] == "http" else None
        if actor is None:
            return await self._app(scope, receive, send)
        name = "triggers" if scope["method"] == "POST" and scope["path"].endswith(_TRIGGERS) else "requests"
        cost = RequestCost(actor.key, name, self._quotas[name], self._buckets[name], self._monotonic)
        scope["state"]["cost"] = cost

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(cost.headers(self._monotonic()))
            await send(message)

        now = self._monotonic()
        if cost.buckets.take(cost.caller, now):
            return await self._app(scope, receive, send_with_limits)
        wait = cost.retry_after(now)
        refusal = TooManyRequests(
            f"This token has used up its {cost.quota} {name} per minute; try again in {wait} s.",
            headers={"Retry-After": str(wait)},
        )
        return await response_of(refusal, scope["path"])(scope, receive, send_with_limits)
