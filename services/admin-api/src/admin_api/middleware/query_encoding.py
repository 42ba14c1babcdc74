"""Percent-encoding of query strings, as RFC 3986 requires."""

from urllib.parse import quote_from_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

_SAFE = bytes(range(0x21, 0x7F)).decode()


class QueryEncodingMiddleware:
    """Middleware: percent-encodes bytes of the query that the client should have encoded. Starlette decodes every URL
    as UTF-8, which may fail for such bytes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["query_string"] = quote_from_bytes(scope["query_string"], safe=_SAFE).encode("ascii")
        await self._app(scope, receive, send)
