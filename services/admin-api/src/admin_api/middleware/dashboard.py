"""Serves the built dashboard to browsers. Without a build, every request goes on to the API."""

import secrets
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from admin_api.auth.required_roles import PUBLIC_PATHS
from admin_api.dashboard.files import CurrentDashboard, Dashboard, File
from admin_api.http.content_negotiation import VARY, preferred
from admin_api.http.problems import MEDIA_TYPE as PROBLEM
from admin_api.middleware.head_requests import HeadRequestMiddleware

_HTML: Final = "text/html"
_ASSETS: Final = "/assets/"
_API_PATHS: Final = PUBLIC_PATHS - {"/"}
_API_FOLDERS: Final = ("/api/", "/docs/", "/health/")
IMMUTABLE: Final = "public, max-age=31536000, immutable"
"""The cache header of files whose name contains a hash. A new build gives changed files new names, so a browser need
not check whether a file is current.
"""


class DashboardMiddleware:
    """Middleware outside of authentication: the page contains nothing about the system, and a person without a session
    needs it to sign in.

    Browsers get the page for any path that is not one of the API, because the page itself interprets the path. Other
    programs get the response of the API.
    """

    def __init__(self, app: ASGIApp, *, dashboard: CurrentDashboard) -> None:
        self._app = app
        self._dashboard = dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._response(scope) if scope["type"] == "http" and scope["method"] in {"GET", "HEAD"} else None
        if response is None:
            return await self._app(scope, receive, send)
        return await HeadRequestMiddleware(response)(scope, receive, send)

    def _response(self, scope: Scope) -> Response | None:
        path, headers = scope["path"], Headers(scope=scope)
        if not path.startswith(_ASSETS) and not asks_for_page(path, headers.get("accept", "")):
            return None
        dashboard = self._dashboard.get()
        if dashboard is None:
            return None
        if (file := dashboard.files.get(path)) is not None:
            return _file_response(file, headers.get("accept-encoding", ""))
        return None if path.startswith(_ASSETS) else _page_response(dashboard)


def asks_for_page(path: str, accept: str) -> bool:
    """Whether a browser opens a page with this request, and the path does not belong to the API."""
    if path in _API_PATHS or path.startswith(_API_FOLDERS):
        return False
    return preferred(accept, (PROBLEM, _HTML)) == _HTML


def _page_response(dashboard: Dashboard) -> Response:
    nonce = secrets.token_urlsafe(16)
    headers = {"Content-Security-Policy": page_policy(nonce), **VARY}
    return Response(dashboard.page_with(nonce), headers=headers, media_type=_HTML)


def page_policy(nonce: str) -> str:
    """The content security policy of the page. It allows only scripts from files of this API. The component library
    writes style elements, which need the nonce.
    """
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _file_response(file: File, accept_encoding: str) -> Response:
    headers = {"Cache-Control": IMMUTABLE, "Vary": "Accept-Encoding"}
    if file.gzipped is not None and "gzip" in accept_encoding.lower():
        return Response(file.gzipped, headers={**headers, "Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.body, headers=headers, media_type=file.media_type)
