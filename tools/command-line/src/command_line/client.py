"""Requests to the API, and its refusals as failures of ours."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, Self

import httpx

from command_line.failures import Refused, Unreachable
from command_line.settings import Settings

PREFIX: Final = "/api/v1/admin/data-collection"
_SECONDS: Final = 30.0
Query = Mapping[str, Any]


class Api:
    """Close it, or use it as a context."""

    def __init__(self, settings: Settings, transport: httpx.BaseTransport | None = None) -> None:
        """`transport` stands in for the network."""
        self._url = settings.url
        self.http = httpx.Client(
            base_url=settings.url + PREFIX,
            headers={"Authorization": f"Bearer {settings.token}", "User-Agent": "candlekeep"},
            timeout=_SECONDS,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """An answer that is a success. Raises `Refused` and `Unreachable`."""
        try:
            answer = self.http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._url} does not answer: {error}") from error
        require_success(answer)
        return answer

    def get(self, path: str, **query: Any) -> Any:
        """JSON. What is None in the query is left out."""
        return self.request("GET", path, params=_present(query)).json()

    def rows(self, path: str, *, most: int | None, page: int, **query: Any) -> Iterator[dict[str, Any]]:
        """The rows of a list, page after page along its links: at most so many, or all."""
        left, target, params = most, path, _present(query)
        while left is None or left > 0:
            params = {**params, "limit": page if left is None else min(page, left)}
            answer = self.request("GET", target, params=params)
            found = answer.json()
            yield from found
            left = None if left is None else left - len(found)
            following = answer.links.get("next", {}).get("url")
            if following is None:
                return
            given = httpx.URL(following).params
            params = {name: given.get_list(name) for name in given}


def require_success(answer: httpx.Response) -> None:
    """Raises `Refused` or `Unreachable` with what the API says, its hints included."""
    if answer.is_success:
        return
    said = explanation(answer)
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Unreachable(said)
    raise Refused(said)


def explanation(answer: httpx.Response) -> str:
    """A problem in words; other bodies are no API of ours."""
    try:
        problem = answer.json()
        words = f"{problem['title']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.url} answered {answer.status_code}, and not as Candlekeep does: is this its address?"
    name = answer.headers.get("X-Request-ID")
    return f"{words} (request {name})" if name else words


def _present(query: Query) -> dict[str, Any]:
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
        if value is not None
    }
