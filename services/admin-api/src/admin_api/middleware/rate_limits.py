"""How often one caller may ask. In the memory of this instance: with several, each allows as much."""

import time
from collections.abc import Callable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api.http.errors import TooManyRequests
from admin_api.http.problems import response_of
from admin_api.http.request_cost import RequestCost
from admin_api.http.token_bucket import TokenBuckets
from admin_api.writes.actors import Actor

_TRIGGERS: Final = ("/trigger",)
"""How paths end that make the system work at once."""


class RateLimitMiddleware:
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
        self._buckets = {name: TokenBuckets(capacity=quota, per_minute=quota) for name, quota in self._quotas.items()}
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
