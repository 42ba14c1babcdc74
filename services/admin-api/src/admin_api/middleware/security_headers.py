"""Response headers that restrict what browsers do with a response."""

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api.middleware.dashboard import IMMUTABLE

_DOCS: Final = "/docs"
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_API_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
_DOCS_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""The documentation page: scripts only from files of this API. Swagger UI sets styles inline."""
_HSTS: Final = "max-age=31536000"


class SecurityHeadersMiddleware:
    """Middleware. Caches must not store a response, because it is only for its caller. The files of the documentation
    page are the same for all callers: a browser may store them, but must check before each use whether they are
    current. A dashboard file with a hash in its name never changes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        docs = scope["path"] == _DOCS or scope["path"].startswith(f"{_DOCS}/")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", _DOCS_POLICY if docs else _API_POLICY)
                if headers.get("Cache-Control") != IMMUTABLE:  # FastAPI sets no-cache for event streams
                    headers["Cache-Control"] = "no-cache" if docs else "no-store"
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", _HSTS)
            await send(message)

        return await self._app(scope, receive, send_with_headers)
