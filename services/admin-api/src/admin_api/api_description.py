"""What FastAPI's description of the API lacks, or says otherwise than it is."""

from collections.abc import Iterator
from typing import Any, Final

from admin_api.http.input_types import MAX_ID
from admin_api.http.problem_schemas import FieldProblem, Problem
from admin_api.manifests.format import Manifest

_TEMPLATE: Final = "#/components/schemas/{model}"


def complete_description(schema: dict[str, Any]) -> dict[str, Any]:
    """The same description, completed in place; doing it twice changes nothing."""
    schemas = schema["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):  # ours is Problem
        schemas.pop(unused, None)
    for model in (Problem, FieldProblem, Manifest):
        schemas[model.__name__] = model.model_json_schema(ref_template=_TEMPLATE)
        schemas[model.__name__].pop("$defs", None)
    _bounds_as_integers(schemas)
    for parameter in _parameters(schema):
        _never_null(parameter["schema"])
    return schema


def _parameters(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in schema["paths"].values():
        for operation in item.values():
            yield from operation.get("parameters", [])


def _bounds_as_integers(node: Any) -> None:
    """FastAPI writes bounds as floats, in which the greatest id is one too many."""
    if isinstance(node, list):
        for each in node:
            _bounds_as_integers(each)
    elif isinstance(node, dict):
        for name in ("minimum", "maximum"):
            if node.get("type") == "integer" and isinstance(node.get(name), float):
                node[name] = min(int(node[name]), MAX_ID)
        _bounds_as_integers(list(node.values()))


def _never_null(schema: dict[str, Any]) -> None:
    """A parameter is there or is not: in a query or a header `null` is a word of four letters."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema.update(kinds[0] | schema)
