"""Limits on the requests of one caller. They are in memory, so each instance has its own."""

import time
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api.http.errors import TooManyRequests
from admin_api.http.problems import response_of
from admin_api.http.request_cost import Quota, RequestCost
from admin_api.writes.actors import Actor


class RateLimitMiddleware:
    """Limits the requests of each caller. It runs inside the authentication middleware, because many callers may share
    one address.

    The headers of every response contain the remaining numbers of requests and runs. Operations that start runs add
    them to the cost of their request, which is `request.state.cost`.
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
        self._requests = Quota.of("requests", requests_per_minute)
        self._runs = Quota.of("triggers", triggers_per_minute)
        self._monotonic = monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        actor: Actor | None = scope.get("state", {}).get("actor") if scope["type"] == "http" else None
        if actor is None:
            return await self._app(scope, receive, send)
        cost = RequestCost(actor.key, self._requests, self._runs, self._monotonic)
        scope["state"]["cost"] = cost

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(cost.headers())
            await send(message)

        try:
            cost.count_requests(1)
        except TooManyRequests as refusal:
            return await response_of(refusal, scope["path"])(scope, receive, send_with_limits)
        return await self._app(scope, receive, send_with_limits)
