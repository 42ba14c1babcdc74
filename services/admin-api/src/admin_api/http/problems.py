"""Error handlers: every error response is an RFC 9457 problem (`application/problem+json`)."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route

from admin_api.http.errors import MAX_ERRORS, ApiError, FieldError, InvalidInput
from admin_api.http.recorded_paths import recorded_path
from admin_api.http.request_ids import current_request_id
from runtime.logs import log


class FieldProblem(BaseModel):
    """One fault of one input."""

    pointer: str = Field(examples=["#/timeframes/0"])
    detail: str
    where: str = Field(examples=["body"])


class Problem(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        description="Stable, for programs. `docs/problems` has a page for each type.",
        examples=["urn:candlekeep:problem:invalid-input"],
    )
    title: str
    status: int
    detail: str = Field(description="The fault, and what to change.")
    instance: str = Field(description="The path of the request.")
    request_id: str | None = Field(
        default=None,
        description="The id of this request in the log and the audit log; also in the header X-Request-ID.",
    )
    errors: list[FieldProblem] = Field(default=[], description="One entry per faulty input.")


MEDIA_TYPE = "application/problem+json"

HTTP_PROBLEMS: Final = {
    400: ("bad-request", "Malformed HTTP request", "The request is not valid HTTP; see RFC 9110."),
    404: ("not-found", "Not found", "This path does not exist; /docs lists all paths."),
    405: (
        "method-not-allowed",
        "Method not allowed",
        "This path does not support the method; the Allow header lists the supported methods.",
    ),
    413: (
        "content-too-large",
        "Request body too large",
        "The request body is too large; a config has a few hundred bytes.",
    ),
}
"""Slug, title and detail of the framework's errors. The standard library's phrases differ between Python versions."""
INTERNAL_ERROR: Final = (500, "internal-error", "Internal error")


def problem_response(  # noqa: PLR0913 -- the members of a problem
    *,
    status: int,
    slug: str,
    title: str,
    detail: str,
    instance: str,
    errors: Sequence[FieldError] = (),
    extensions: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    body: dict[str, Any] = {
        "type": f"urn:candlekeep:problem:{slug}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "request_id": current_request_id(),
        **(extensions or {}),
    }
    if errors:
        body["errors"] = [
            {"pointer": error.pointer, "detail": error.detail, "where": error.where} for error in errors[:MAX_ERRORS]
        ]
    # `json.dumps` escapes to ASCII: the body may contain a lone surrogate from the request, which UTF-8 cannot encode.
    return Response(json.dumps(body), status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def response_of(error: ApiError, instance: str) -> Response:
    """The response for an error. `instance` is the path of the request."""
    return problem_response(
        status=error.status,
        slug=error.slug,
        title=error.title,
        detail=error.detail,
        instance=instance,
        errors=error.errors,
        extensions=error.extensions,
        headers=error.headers,
    )


def install_error_handlers(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Register a handler for each kind of error. `routes` are needed for the Allow header."""

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 -- the handler is registered for this class
        return await _on_http_error(request, error, routes)

    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, on_http_error)


async def _on_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 -- the handler is registered for this class
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        cause = error.__cause__
        log.warning(
            error.title, action=error.slug.replace("-", "_"), path=recorded_path(request.scope), error=repr(cause)
        )
    return response_of(error, request.url.path)


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 -- the handler is registered for this class
    return await _on_api_error(request, InvalidInput.of([field_error(each) for each in error.errors()[:MAX_ERRORS]]))


async def _on_http_error(request: Request, error: HTTPException, routes: Sequence[BaseRoute]) -> Response:
    if error.status_code == HTTPStatus.BAD_REQUEST:  # FastAPI: the body is not text or is nested too deeply
        return await _on_api_error(request, InvalidInput.of([FieldError("#", "the body is not valid JSON in UTF-8")]))
    slug, title, detail = HTTP_PROBLEMS.get(error.status_code, HTTP_PROBLEMS[HTTPStatus.BAD_REQUEST])
    return problem_response(
        status=error.status_code,
        slug=slug,
        title=title,
        detail=detail,
        instance=request.url.path,
        headers={"Allow": _allowed(request, routes)}
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED
        else error.headers,
    )


def _allowed(request: Request, routes: Sequence[BaseRoute]) -> str:
    """The methods of all routes on this path. The router names only those of the first route that matches."""
    methods: set[str] = set()
    for route in routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted(methods))


def field_error(detail: Mapping[str, Any]) -> FieldError:
    """Converts a Pydantic error to a message that says what to change."""
    where, *path = detail["loc"]
    kind, message = detail["type"], str(detail["msg"])
    if kind == "json_invalid":
        place = f" at character {path[0]}" if path[0] >= 0 else ""
        return FieldError("#", f"the body is not valid JSON: {detail['ctx']['error']}{place}")
    if where == "body" and not path:
        if kind == "missing":
            return FieldError("#", "send a JSON object as the body, with the header Content-Type: application/json")
        if kind in {"model_attributes_type", "model_type", "dict_type"}:
            return FieldError(
                "#", "the body must be a JSON object, sent with the header Content-Type: application/json"
            )
    pointer = "#" + "".join(f"/{_escaped(part)}" for part in path)
    if kind == "extra_forbidden":
        message = "there is no such parameter" if where == "query" else "there is no such field"
    elif kind == "missing":
        message = "is required"
    return FieldError(pointer, message.removeprefix("Value error, "), where=str(where))


def _escaped(part: str | int) -> str:
    """Escapes a part of a JSON pointer (RFC 6901) and limits its length."""
    return str(part)[:100].replace("~", "~0").replace("/", "~1")
