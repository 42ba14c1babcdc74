"""How often one caller may ask. In the memory of this instance: with several, each allows as much."""

import time
from collections.abc import Callable
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


class RateLimits:
    """Middleware, behind the gate: a limit belongs to a caller, not to an address that many may share.

    Every answer says what is left, as draft-ietf-httpapi-ratelimit-headers has it.
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
        bucket, caller, now = self._buckets[name], _caller(actor), self._monotonic()
        allowed = bucket.take(caller, now)
        headers = {
            "RateLimit-Policy": f'"{name}";q={self._quotas[name]};w={_WINDOW_SECONDS}',
            "RateLimit": f'"{name}";r={bucket.left(caller, now)};t={bucket.seconds_until_full(caller, now)}',
        }

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        if allowed:
            return await self._app(scope, receive, told)
        wait = max(1, bucket.seconds_until_one(caller, now))
        refusal = TooManyRequests(
            f"This token has used up its {self._quotas[name]} {name} per minute; try again in {wait} s.",
            headers={"Retry-After": str(wait)},
        )
        return await response_of(refusal, scope["path"])(scope, receive, told)


def _caller(actor: Actor) -> str:
    return f"{actor.kind}:{actor.token_id if actor.token_id is not None else actor.name}"
