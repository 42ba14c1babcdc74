"""How a page of a list travels: the rows as a bare array, and what one needs to know about the rest in headers."""

from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from fastapi import Request, Response

from admin_api.http.pagination import COUNTED_UP_TO, Page

T = TypeVar("T")

PAGE_HEADERS: Final[dict[str, Any]] = {
    "X-Total-Count": {
        "description": f"How many there are in all; an estimate beyond {COUNTED_UP_TO}.",
        "schema": {"type": "integer"},
    },
    "X-Total-Count-Exact": {
        "description": "Whether the total was counted (`true`) or estimated (`false`).",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
    "Link": {
        "description": 'RFC 8288. `rel="next"`, when there is more, is the next page of the same query, fast at any '
        'depth; `rel="first"` its first page.',
        "schema": {"type": "string"},
    },
}


def send(page: Page[T], request: Request, response: Response) -> list[T]:
    """The rows; their headers are set."""
    response.headers["X-Total-Count"] = str(page.total.rows)
    response.headers["X-Total-Count-Exact"] = "true" if page.total.exact else "false"
    links = {"first": _link(request)}
    if page.next_cursor is not None:
        links["next"] = _link(request, cursor=page.next_cursor)
    response.headers["Link"] = ", ".join(f'<{target}>; rel="{relation}"' for relation, target in links.items())
    return page.rows


def _link(request: Request, **more: str) -> str:
    """Where we were asked, from the path on, with everything that was asked but the place in the list.

    Without scheme and host: behind a proxy we would name the wrong ones.
    """
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in {"skip", "cursor"}]
    query = urlencode([*kept, *more.items()])
    return f"{request.url.path}?{query}" if query else request.url.path
