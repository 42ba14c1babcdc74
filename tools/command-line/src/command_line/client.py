"""Requests to the API. An error of the API becomes an exception."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, Self

import httpx

from command_line.failures import Refused, Unreachable
from command_line.settings import Settings

PREFIX: Final = "/api/v1/admin/data-collection"
_TIMEOUT_SECONDS: Final = 30.0
Query = Mapping[str, Any]


class Api:
    """An HTTP client of the API. Close it, or use it as a context manager."""

    def __init__(self, settings: Settings, transport: httpx.BaseTransport | None = None) -> None:
        """`transport` replaces the network in tests."""
        self._url = settings.url
        self.http = httpx.Client(
            base_url=settings.url + PREFIX,
            headers={"Authorization": f"Bearer {settings.token}", "User-Agent": "candlekeep"},
            timeout=_TIMEOUT_SECONDS,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Sends a request and returns the response, which is a success. Raises `Refused` and `Unreachable`."""
        try:
            response = self.http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._url} does not answer: {error}") from error
        require_success(response)
        return response

    def get(self, path: str, **query: Any) -> Any:
        """The response's JSON. Query parameters that are None are not sent."""
        return self.request("GET", path, params=_present(query)).json()

    def rows(self, path: str, *, most: int | None, page: int, **query: Any) -> Iterator[dict[str, Any]]:
        """The rows of a list, read page by page. `most` limits the number of rows; None means all."""
        left, target, params = most, path, _present(query)
        while left is None or left > 0:
            params = {**params, "limit": page if left is None else min(page, left)}
            response = self.request("GET", target, params=params)
            found = response.json()
            yield from found
            left = None if left is None else left - len(found)
            next_page = response.links.get("next", {}).get("url")
            if next_page is None:
                return
            next_params = httpx.URL(next_page).params
            params = {name: next_params.get_list(name) for name in next_params}


def require_success(response: httpx.Response) -> None:
    """Raises `Refused` or `Unreachable` with the error message of the API."""
    if response.is_success:
        return
    message = explanation(response)
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Unreachable(message)
    raise Refused(message)


def explanation(response: httpx.Response) -> str:
    """The error message of a response. A body that is not problem JSON does not come from Candlekeep."""
    try:
        problem = response.json()
        message = f"{problem['title']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"{response.url} returned {response.status_code}, but not in Candlekeep's format; check the address"
    request_id = response.headers.get("X-Request-ID")
    return f"{message} (request {request_id})" if request_id else message


def _present(query: Query) -> dict[str, Any]:
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
        if value is not None
    }
