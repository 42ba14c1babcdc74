"""The CSRF check. A browser sends its cookies also with requests that a page of another site starts."""

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers

HEADER: Final = "X-CSRF-Protection"
"""The header that a request needs if it has no Sec-Fetch-Site. Any value is accepted, because a page of another site
can send this header only after a CORS preflight for an allowed origin.
"""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def csrf_problem(method: str, headers: Headers, *, scheme: str) -> str | None:
    """The reason why a request with a session cookie is refused; None if it is allowed."""
    if method in _SAFE:
        return None
    site = headers.get("sec-fetch-site")
    if site is not None:
        # Only the browser can set Sec-Fetch-Site, so no other header is checked.
        return None if site == "same-origin" else f"The request comes from a page of another site ({site[:20]})."
    if not headers.get(HEADER):
        return f"A changing request with a session cookie needs the header {HEADER}: 1."
    origin = headers.get("origin")
    if origin is None:
        return "The request has neither Sec-Fetch-Site nor Origin, so its page is unknown; use a bearer token."
    # The browser is too old for Sec-Fetch-Site, so compare the requested host with the page's origin.
    requested = urlsplit(f"{scheme}://{headers.get('host', '')}")
    page = urlsplit(origin)
    same = (page.scheme, page.netloc.lower()) == (requested.scheme, requested.netloc.lower())
    return None if same else "The request comes from a page of another origin."
