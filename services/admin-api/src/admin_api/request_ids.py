"""A name for each request, by which its answer, its log lines and its audit rows are found again."""

import re
from contextvars import ContextVar
from typing import Final
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER: Final = "X-Request-ID"
_ACCEPTED: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CURRENT: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)


def current_request_id() -> str | None:
    """Of the request that is being served; None outside of one."""
    return _CURRENT.get()


class RequestIds:
    """Middleware. The caller's own name for a request is kept when it is harmless, so that it can be traced through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _ACCEPTED.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def with_name(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        token = _CURRENT.set(request_id)
        try:
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                return await self._app(scope, receive, with_name)
        finally:
            _CURRENT.reset(token)
