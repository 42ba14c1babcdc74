"""Corrects the OpenAPI description that FastAPI generates, and serves it."""

import asyncio
import json
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from starlette.routing import Route

from admin_api.http.background_work import in_background
from admin_api.http.input_types import MAX_ID
from admin_api.http.problems import FieldProblem, Problem
from admin_api.manifests.format import Manifest

_TEMPLATE: Final = "#/components/schemas/{model}"


def serve_description(app: FastAPI) -> None:
    """Build and serialize the description once, in a thread, at the first request.

    FastAPI would serialize it on the event loop for each request, and these requests need no token.
    """
    generate = app.openapi
    app.openapi = cache(lambda: complete_description(generate()))  # type: ignore[method-assign]  # FastAPI's documented way
    content: list[bytes] = []
    lock = asyncio.Lock()

    def serialize() -> bytes:
        return json.dumps(app.openapi(), ensure_ascii=False).encode()

    async def openapi_json(_request: Request) -> Response:
        async with lock:
            if not content:
                content.append(await in_background(serialize))
        return Response(content[0], media_type="application/json")

    own = Route(str(app.openapi_url), openapi_json, include_in_schema=False)
    app.router.routes[:] = [own, *(each for each in app.router.routes if getattr(each, "path", None) != own.path)]


def complete_description(schema: dict[str, Any]) -> dict[str, Any]:
    """Complete the description in place, and return it. A second call changes nothing."""
    schemas = schema["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):  # errors are answered with Problem
        schemas.pop(unused, None)
    for model in (Problem, FieldProblem, Manifest):
        schemas[model.__name__] = model.model_json_schema(ref_template=_TEMPLATE)
        schemas[model.__name__].pop("$defs", None)
    _make_bounds_integers(schemas)
    for parameter in _parameters(schema):
        _remove_null(parameter["schema"])
    return schema


def _parameters(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in schema["paths"].values():
        for operation in item.values():
            yield from operation.get("parameters", [])


def _make_bounds_integers(node: Any) -> None:
    """Write bounds as integers. FastAPI writes them as floats, which raises the largest id by one."""
    if isinstance(node, list):
        for each in node:
            _make_bounds_integers(each)
    elif isinstance(node, dict):
        for name in ("minimum", "maximum"):
            if node.get("type") == "integer" and isinstance(node.get(name), float):
                node[name] = min(int(node[name]), MAX_ID)
        _make_bounds_integers(list(node.values()))


def _remove_null(schema: dict[str, Any]) -> None:
    """Remove null from the types of optional parameters. A client leaves such a parameter out, because in a query or a
    header `null` would be a text.
    """
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema.update(kinds[0] | schema)
