"""Encodings of requests: normalizes those of the query, and refuses encoded bodies."""

from urllib.parse import quote_from_bytes

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from admin_api.http.errors import UnsupportedMedia
from admin_api.http.problems import response_of

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


class ContentEncodingMiddleware:
    """Middleware: 415 for a body with a Content-Encoding other than identity.

    Decompression is a risk without a benefit: a few kilobytes may become gigabytes, and bodies here are small.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_encoded(Headers(scope=scope)):
            return await self._app(scope, receive, send)
        refusal = UnsupportedMedia(
            "The body has a Content-Encoding. Send it uncompressed, without the header Content-Encoding.",
            headers={"Accept-Encoding": "identity"},
        )
        return await response_of(refusal, scope["path"])(scope, receive, send)


def _is_encoded(headers: Headers) -> bool:
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    codings = {coding.strip().lower() for line in headers.getlist("content-encoding") for coding in line.split(",")}
    return has_body and not codings <= {"", "identity"}
