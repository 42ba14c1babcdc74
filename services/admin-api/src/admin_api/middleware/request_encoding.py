"""Encodings of requests: refuses queries that are not UTF-8, and encoded bodies."""

from urllib.parse import quote_from_bytes, unquote_to_bytes

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from admin_api.http.errors import FieldError, InvalidInput, UnsupportedMedia
from admin_api.http.problems import response_of

_SAFE = bytes(range(0x21, 0x7F)).decode()


class QueryEncodingMiddleware:
    """Middleware: 422 for a query that is not UTF-8. Otherwise Starlette would fail, or replace the bytes, so that the
    query filters by a text that the client has not sent.

    Bytes of UTF-8 that the client should have percent-encoded are encoded here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        try:
            unquote_to_bytes(scope["query_string"]).decode()
        except UnicodeDecodeError:
            fault = FieldError("#", "is not UTF-8; percent-encode the bytes of its UTF-8 form", where="query")
            return await response_of(InvalidInput.of([fault]), scope["path"])(scope, receive, send)
        scope["query_string"] = quote_from_bytes(scope["query_string"], safe=_SAFE).encode("ascii")
        return await self._app(scope, receive, send)


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
