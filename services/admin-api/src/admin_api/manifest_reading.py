"""Reading a file that anybody may have written: no tags, no aliases, no depth, and every fault with its line."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml
from pydantic import ValidationError

from admin_api.claims import Series, series_of
from admin_api.errors import FieldError, InvalidInput, UnsupportedMedia
from admin_api.manifest import Manifest
from admin_api.problems import field_error
from admin_api.schemas import NewConfig

JSON: Final = "application/json"
YAML: Final = "application/yaml"
_YAML_NAMES: Final = frozenset({YAML, "application/x-yaml", "text/yaml", "text/x-yaml", "text/vnd.yaml"})
_MAX_DEPTH: Final = 6
"""A file is a mapping of a list of mappings of lists."""
_MAX_ERRORS: Final = 20
_LOADER: Final[type[Any]] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""C's where libyaml was there: much faster."""


@dataclass(frozen=True)
class ReadManifest:
    """A file's entries, and on which line each begins; no lines for JSON."""

    configs: Sequence[NewConfig]
    lines: Sequence[int]

    def place(self, index: int) -> str:
        """Where an entry is, for people."""
        return f"configs[{index}]" + (f" (line {self.lines[index]})" if index < len(self.lines) else "")


def read_manifest(body: bytes, content_type: str) -> ReadManifest:
    """Raises `InvalidInput`, `UnsupportedMedia`. Takes its time with a large file: not for the event loop."""
    lines: list[int] = []
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON:
        data = _from_json(body)
    elif kind in _YAML_NAMES:
        data, lines = _from_yaml(body)
    else:
        raise UnsupportedMedia(f"Send the file with the header Content-Type: {YAML}, or as {JSON}.")
    try:
        manifest = Manifest.model_validate(data)
    except ValidationError as error:
        raise InvalidInput.of([_located(each, lines) for each in error.errors()[:_MAX_ERRORS]]) from None
    read = ReadManifest(manifest.configs, lines)
    if twice := list(_twice(read)):
        raise InvalidInput.of(twice[:_MAX_ERRORS])
    return read


def _from_json(body: bytes) -> Any:
    try:
        return json.loads(body, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"the body is not valid JSON: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)[:100]!r} is there twice in an object")
    return made


def _from_yaml(body: bytes) -> tuple[Any, list[int]]:
    try:
        text = body.decode("utf-8-sig")
        _require_harmless(yaml.parse(text, Loader=_LOADER))
        loader = _LOADER(text)
        node = loader.get_single_node()
        if node is None:
            raise _unreadable("the file is empty; write `configs:` and a list")
        entries = _entries(node)
        for mapping in (node, *entries):
            _require_each_key_once(mapping)
        return loader.construct_document(node), [entry.start_mark.line + 1 for entry in entries]
    except yaml.MarkedYAMLError as error:
        where = f" on line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise _unreadable(f"the body is not valid YAML{where}: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _unreadable(f"the body is not valid YAML: {str(error).splitlines()[0][:200]}") from None


def _require_harmless(events: Iterable[yaml.Event]) -> None:
    """Before anything is built: a few bytes of aliases can stand for gigabytes, and depth for the whole stack."""
    depth = documents = 0
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _unreadable(f"line {line} has an anchor or alias (& or *), which are not read here; write it out")
        if getattr(event, "tag", None):
            raise _unreadable(f"line {line} has a tag (!), which is not read here; leave it out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if depth > _MAX_DEPTH:
            raise _unreadable(f"line {line} is nested deeper than a file of configs is")
        if documents > 1:
            raise _unreadable(f"line {line} begins a second document; send one")


def _entries(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == "configs" and isinstance(value, yaml.SequenceNode):
                return list(value.value)
    return []


def _require_each_key_once(node: yaml.Node) -> None:
    """PyYAML takes the last of two, and the first would be lost without a word."""
    seen = set()
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                raise _unreadable(f"line {key.start_mark.line + 1} has {key.value[:100]!r} a second time")
            seen.add(key.value)


def _unreadable(detail: str) -> InvalidInput:
    return InvalidInput.of([FieldError("#", detail)])


def _located(detail: Any, lines: Sequence[int]) -> FieldError:
    loc = detail["loc"]
    if not loc:
        return FieldError("#", "the file must say `configs:` and a list")
    fault = field_error({**detail, "loc": ("body", *loc)})
    if loc[:1] == ("configs",) and len(loc) > 1 and isinstance(loc[1], int) and loc[1] < len(lines):
        return FieldError(fault.pointer, f"{fault.detail} (in the entry on line {lines[loc[1]]})")
    return fault


def _twice(read: ReadManifest) -> Iterable[FieldError]:
    first: dict[Series, int] = {}
    for index, entry in enumerate(read.configs):
        for series in series_of(entry):
            exchange, symbol, timeframe = series
            if series in first:
                both = f"{read.place(first[series])} and {read.place(index)}"
                yield FieldError(f"#/configs/{index}", f"{both} collect {timeframe} of {symbol} on {exchange}")
            first.setdefault(series, index)
