"""Corrections of the OpenAPI description that FastAPI generates."""

from collections.abc import Iterator
from typing import Any, Final

from admin_api.http.input_types import MAX_ID
from admin_api.http.problems import FieldProblem, Problem
from admin_api.manifests.format import Manifest

_TEMPLATE: Final = "#/components/schemas/{model}"


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
    """FastAPI writes bounds as floats, which raises the largest id by one."""
    if isinstance(node, list):
        for each in node:
            _make_bounds_integers(each)
    elif isinstance(node, dict):
        for name in ("minimum", "maximum"):
            if node.get("type") == "integer" and isinstance(node.get(name), float):
                node[name] = min(int(node[name]), MAX_ID)
        _make_bounds_integers(list(node.values()))


def _remove_null(schema: dict[str, Any]) -> None:
    """Optional parameters are left out, never null: in a query or a header, `null` is a text."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema.update(kinds[0] | schema)
