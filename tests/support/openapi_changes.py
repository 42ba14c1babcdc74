"""Finds the changes of an OpenAPI description that break clients of the previous description.

A request must accept all inputs that it accepted before. A response must contain everything that it contained before.
New paths, optional inputs, and further fields and values in responses do not break a client that follows the guide.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

Document = Mapping[str, Any]
_METHODS: Final = ("get", "post", "put", "delete", "patch")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems")


def breaking_changes(old: Document, new: Document) -> list[str]:
    """One line per breaking change; empty if every old client still works."""
    return [
        line
        for name, before, after in _operations(old, new)
        for line in _operation(_Pair(old, new), name, before, after)
    ]


@dataclass(frozen=True)
class _Pair:
    old: Document
    new: Document

    def resolved(self, before: Any, after: Any) -> tuple[Any, Any]:
        return _resolve(self.old, before), _resolve(self.new, after)


def _operations(old: Document, new: Document) -> Iterator[tuple[str, Any, Any]]:
    for path, item in old["paths"].items():
        for method in _METHODS:
            if method in item:
                yield f"{method.upper()} {path}", item[method], new["paths"].get(path, {}).get(method)


def _operation(pair: _Pair, name: str, before: Any, after: Any) -> Iterator[str]:
    if after is None:
        yield f"{name} was removed"
        return
    if before["operationId"] != after["operationId"]:
        yield f"{name}: operationId {before['operationId']} is now {after['operationId']}"
    yield from _parameters(pair, name, before, after)
    yield from _body(pair, name, before.get("requestBody"), after.get("requestBody"))
    for status, response in before["responses"].items():
        if status.startswith("2"):
            yield from _response(pair, f"{name} {status}", response, after["responses"].get(status))


def _parameters(pair: _Pair, name: str, before: Any, after: Any) -> Iterator[str]:
    old = {(each["in"], each["name"]): each for each in before.get("parameters", ())}
    new = {(each["in"], each["name"]): each for each in after.get("parameters", ())}
    for key, parameter in old.items():
        where = f"{name} {key[0]} {key[1]}"
        if key not in new:
            yield f"{where} was removed"
            continue
        if new[key].get("required") and not parameter.get("required"):
            yield f"{where} is now required"
        yield from _input(pair, where, parameter["schema"], new[key]["schema"])
    for key in new.keys() - old.keys():
        if new[key].get("required"):
            yield f"{name} {key[0]} {key[1]} is new and required"


def _body(pair: _Pair, name: str, before: Any, after: Any) -> Iterator[str]:
    if after is not None and before is None and after.get("required"):
        yield f"{name} now requires a body"
    if before is None:
        return
    for kind, content in before["content"].items():
        if after is None or kind not in after["content"]:
            yield f"{name} no longer accepts {kind}"
        else:
            yield from _input(pair, f"{name} body", content["schema"], after["content"][kind]["schema"])


def _response(pair: _Pair, name: str, before: Any, after: Any) -> Iterator[str]:
    if after is None:
        yield f"{name} is no longer a response"
        return
    for kind, content in before.get("content", {}).items():
        if kind not in after.get("content", {}):
            yield f"{name} is no longer returned as {kind}"
        elif "schema" in content:
            yield from _output(pair, name, content["schema"], after["content"][kind].get("schema", {}))


def _input(pair: _Pair, where: str, before: Any, after: Any) -> Iterator[str]:
    """Everything that was accepted must still be accepted."""
    before, after = pair.resolved(before, after)
    if not _types(pair.old, before) <= _types(pair.new, after):
        yield f"{where}: no longer accepts {', '.join(sorted(_types(pair.old, before) - _types(pair.new, after)))}"
    yield from _limits(where, before, after)
    for field in sorted(set(after.get("required", ())) - set(before.get("required", ()))):
        yield f"{where}/{field} is now required"
    for field, schema in before.get("properties", {}).items():
        if field not in after.get("properties", {}):
            yield f"{where}/{field} was removed"
        else:
            yield from _input(pair, f"{where}/{field}", schema, after["properties"][field])
    if "items" in before and "items" in after:
        yield from _input(pair, f"{where}[]", before["items"], after["items"])


def _limits(where: str, before: Any, after: Any) -> Iterator[str]:
    if "enum" in after and not set(before.get("enum", ["anything"])) <= set(after["enum"]):
        yield f"{where}: accepts fewer values"
    for limit in _UPPER:
        if limit in after and after[limit] < before.get(limit, float("inf")):
            yield f"{where}: {limit} is now {after[limit]}"
    for limit in _LOWER:
        if limit in after and after[limit] > before.get(limit, float("-inf")):
            yield f"{where}: {limit} is now {after[limit]}"


def _output(pair: _Pair, where: str, before: Any, after: Any) -> Iterator[str]:
    """Everything that was returned must still be returned, with the same type."""
    before, after = pair.resolved(before, after)
    if not _types(pair.new, after) <= _types(pair.old, before):
        yield f"{where}: may now be {', '.join(sorted(_types(pair.new, after) - _types(pair.old, before)))}"
    for field in sorted(set(before.get("required", ())) - set(after.get("required", ()))):
        yield f"{where}/{field} may now be missing"
    for field, schema in before.get("properties", {}).items():
        if field in after.get("properties", {}):
            yield from _output(pair, f"{where}/{field}", schema, after["properties"][field])
        elif field not in before.get("required", ()):
            yield f"{where}/{field} was removed"
    if "items" in before and "items" in after:
        yield from _output(pair, f"{where}[]", before["items"], after["items"])


def _types(document: Document, schema: Any) -> set[str]:
    """The JSON types that a value may have. A schema without a type allows any; that is the type `anything` here."""
    schema = _resolve(document, schema)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return {each for choice in schema[keyword] for each in _types(document, choice)}
    stated = schema.get("type")
    return set(stated) if isinstance(stated, list) else {stated or "anything"}


def _resolve(document: Document, schema: Any) -> Any:
    while "$ref" in schema:
        path = schema["$ref"].removeprefix("#/").split("/")
        schema = reduce(lambda node, part: node[part], path, document)
    return schema
