"""The response of a list: the rows as a JSON array, the total count and links to other pages in headers."""

from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from fastapi import Request, Response

from admin_api.http.pagination import MAX_EXACT_TOTAL, Page

T = TypeVar("T")

PAGE_HEADERS: Final[dict[str, Any]] = {
    "X-Total-Count": {
        "description": f"The number of rows in all pages; above {MAX_EXACT_TOTAL} it is an estimate.",
        "schema": {"type": "integer"},
    },
    "X-Total-Count-Exact": {
        "description": "Whether the total was counted (`true`) or estimated (`false`).",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
    "Link": {
        "description": 'RFC 8288. `rel="first"` is the first page of this query. `rel="next"` is the next page, if '
        "there is one; it is equally fast at any depth.",
        "schema": {"type": "string"},
    },
}


def send(page: Page[T], request: Request, response: Response) -> list[T]:
    """Sets the headers of the page on `response` and returns its rows."""
    response.headers["X-Total-Count"] = str(page.total.rows)
    response.headers["X-Total-Count-Exact"] = "true" if page.total.exact else "false"
    links = {"first": _link(request)}
    if page.next_cursor is not None:
        links["next"] = _link(request, cursor=page.next_cursor)
    response.headers["Link"] = ", ".join(f'<{target}>; rel="{relation}"' for relation, target in links.items())
    return page.rows


def _link(request: Request, **more: str) -> str:
    """The path and query of this request, without `skip` and `cursor` and with `more` parameters.

    A relative link has no scheme and host, which would be wrong behind a proxy.
    """
    unchanged = [(name, value) for name, value in request.query_params.multi_items() if name not in {"skip", "cursor"}]
    query = urlencode([*unchanged, *more.items()])
    return f"{request.url.path}?{query}" if query else request.url.path
