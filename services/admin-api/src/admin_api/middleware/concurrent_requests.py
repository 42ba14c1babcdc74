"""A limit on the requests of one caller that are in progress at the same time."""

import asyncio
from collections.abc import Hashable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from admin_api.auth.authenticator import bearer_token
from admin_api.auth.client_addresses import address_of
from admin_api.auth.cookies import session_cookie
from admin_api.http.caller_places import CallerPlaces, allow_to_leave
from admin_api.http.errors import ApiError, TooManyRequests
from admin_api.http.problems import response_of

PLACES: Final = 4
"""The number of concurrent requests per caller. A larger number would not finish requests earlier, because all requests
share one event loop and a few connections to the database.
"""
_HEALTH: Final = "/health/"
"""The paths of health probes. Probes do not wait and are not refused, because other callers can have the same
address.
"""
QUEUE_LENGTH: Final = 500
WAIT_SECONDS: Final = 30.0
HOLD_SECONDS: Final = 1.0
"""A request that takes longer than this gives its place back, because it waits for something else, such as its body or
a lock.
"""


class ConcurrentRequestsMiddleware:
    """Makes a burst of requests of one caller wait here, so that it does not delay requests of other callers.

    All requests share one event loop. It is outside of authentication, because authentication is a large part of the
    work for a short request. So callers are distinguished by the credential that they send, without checking it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._places = CallerPlaces(
            PLACES, queue_length=QUEUE_LENGTH, wait_seconds=WAIT_SECONDS, refusal=_too_many_requests
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_HEALTH):
            await self._app(scope, receive, send)
            return
        try:
            leave = await self._places.acquire(_caller_of(scope))
        except ApiError as refusal:
            await response_of(refusal, scope["path"])(scope, receive, send)
            return
        allow_to_leave(scope, leave)
        timer = asyncio.get_running_loop().call_later(HOLD_SECONDS, leave)
        try:
            await self._app(scope, receive, send)
        finally:
            timer.cancel()
            leave()


def _caller_of(scope: Scope) -> Hashable:
    headers = Headers(scope=scope)
    bearer = bearer_token(headers.getlist("authorization"))
    cookie = session_cookie(headers, secure=True) or session_cookie(headers, secure=False)
    return bearer or cookie or address_of(scope)


def _too_many_requests() -> ApiError:
    return TooManyRequests(
        f"This caller has {PLACES} requests in progress, and others wait. Nothing was done; send fewer at once.",
        headers={"Retry-After": "5"},
    )
