"""A response as bytes, so that it can be stored and sent again unchanged."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from fastapi import Response
from pydantic import BaseModel

from admin_api.http.errors import ApiError
from admin_api.http.problems import response_of


@dataclass(frozen=True)
class StoredResponse:
    """Status, headers (the content type among them) and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        body = model.model_dump_json(by_alias=True).encode()
        return cls(status, {"content-type": "application/json", **(headers or {})}, body)

    @classmethod
    def of_problem(cls, error: ApiError, path: str) -> Self:
        """The response that the error handler would send."""
        response = response_of(error, path)
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        return cls(response.status_code, headers, bytes(response.body))

    def with_header(self, name: str, value: str) -> Self:
        return replace(self, headers={**self.headers, name: value})

    def response(self) -> Response:
        return Response(self.body, status_code=self.status, headers=dict(self.headers))
