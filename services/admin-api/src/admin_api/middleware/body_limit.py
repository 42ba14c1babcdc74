"""A limit on the size of request bodies."""

from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 64 * 1024
"""The limit of most requests. A config has only a few hundred bytes."""
MAX_BULK_BODY_BYTES: Final = 4 * 1024 * 1024
"""The limit of requests with many configs or series. It is enough for ten thousand of them."""
_BULK_PATHS: Final = ("/configs/bulk/create", "/configs/apply", "/backfills")


def limit_of(path: str) -> int:
    return MAX_BULK_BODY_BYTES if path.endswith(_BULK_PATHS) else MAX_BODY_BYTES


class BodyLimitMiddleware:
    """Middleware: 413 if a body is too large, before it is read or, without a Content-Length, while it is read.

    FastAPI also has such a limit, but answers in plain text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        length = Headers(scope=scope).get("content-length", "")
        announced, received = int(length) if length.isdecimal() else 0, 0
        limit = limit_of(scope["path"])

        async def limited_receive() -> Message:
            nonlocal received
            if announced <= limit:
                message = await receive()
                received += len(message.get("body", b""))
                if received <= limit:
                    return message
            raise HTTPException(413)

        return await self._app(scope, limited_receive, send)
