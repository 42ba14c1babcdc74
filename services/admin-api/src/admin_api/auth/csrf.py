"""A browser sends its cookie whoever made it ask: what a request with a cookie must show besides."""

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers

HEADER: Final = "X-CSRF-Protection"
"""Any value. A page of another site can only send it after a preflight, which only allowed origins pass."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def csrf_problem(method: str, headers: Headers, *, scheme: str) -> str | None:
    """Why a request with a session's cookie is refused, or None when it may pass."""
    if method in _SAFE:
        return None
    if not headers.get(HEADER):
        return f"A request with a session's cookie that changes something needs the header {HEADER}: 1."
    origin = headers.get("origin")
    site = headers.get("sec-fetch-site")
    if site is not None:
        return None if site == "same-origin" else f"The request was made by a page of another site ({site[:20]})."
    if origin is None:
        return "The request says neither by Sec-Fetch-Site nor by Origin which page made it; use a bearer token."
    # The browser is too old for Sec-Fetch-Site, so the host that it asked is compared with the page's.
    asked = urlsplit(f"{scheme}://{headers.get('host', '')}")
    page = urlsplit(origin)
    same = (page.scheme, page.netloc.lower()) == (asked.scheme, asked.netloc.lower())
    return None if same else "The request was made by a page of another origin."
