"""Queries as RFC 3986 has them."""

from urllib.parse import quote_from_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

_SAFE = bytes(range(0x21, 0x7F)).decode()


class QueryEncodingMiddleware:
    """Middleware. Bytes that should have come percent-encoded are encoded now: decoding them as UTF-8, as Starlette
    does for every URL, may fail.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["query_string"] = quote_from_bytes(scope["query_string"], safe=_SAFE).encode("ascii")
        await self._app(scope, receive, send)
