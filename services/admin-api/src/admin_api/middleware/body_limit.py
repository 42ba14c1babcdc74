"""No request is larger than it can honestly be."""

from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 64 * 1024
"""A config is a few hundred."""
MANY_BODY_BYTES: Final = 4 * 1024 * 1024
"""Of a request that brings many configs: ten thousand of some size."""
_BRING_MANY: Final = ("/configs/bulk/create", "/configs/apply")


def limit_of(path: str) -> int:
    return MANY_BODY_BYTES if path.endswith(_BRING_MANY) else MAX_BODY_BYTES


class BodyLimitMiddleware:
    """Middleware: 413 before a body that is too large is read, or, when its length was not announced, while it is.

    FastAPI has such a limit too, but answers in plain text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        length = Headers(scope=scope).get("content-length", "")
        announced, seen = int(length) if length.isdecimal() else 0, 0
        limit = limit_of(scope["path"])

        async def counted() -> Message:
            nonlocal seen
            if announced <= limit:
                message = await receive()
                seen += len(message.get("body", b""))
                if seen <= limit:
                    return message
            raise HTTPException(413)

        return await self._app(scope, counted, send)
