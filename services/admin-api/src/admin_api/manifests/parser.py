"""Reading a file that anybody may have written: no tags, no aliases, no depth, and every fault with its line."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from ruamel import yaml

from admin_api.configs.claims import ClaimKey, claim_keys
from admin_api.configs.schemas import NewConfig
from admin_api.http.errors import MAX_ERRORS, FieldError, InvalidInput, UnsupportedMedia
from admin_api.http.problems import field_error
from admin_api.manifests.format import Manifest

JSON: Final = "application/json"
YAML: Final = "application/yaml"
YAML_NAMES: Final = (YAML, "application/x-yaml", "text/yaml", "text/x-yaml", "text/vnd.yaml")
_MAX_DEPTH: Final = 6
"""A file is a mapping of a list of mappings of lists."""


@dataclass(frozen=True)
class ParsedManifest:
    """A file's entries, and on which line each begins; no lines for JSON."""

    configs: Sequence[NewConfig]
    lines: Sequence[int]

    def place(self, index: int) -> str:
        """Where an entry is, for people."""
        return f"configs[{index}]" + (f" (line {self.lines[index]})" if index < len(self.lines) else "")


def parse_manifest(body: bytes, content_type: str) -> ParsedManifest:
    """Raises `InvalidInput`, `UnsupportedMedia`. Takes its time with a large file: not for the event loop."""
    lines: list[int] = []
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON:
        data = _from_json(body)
    elif kind in YAML_NAMES:
        data, lines = _from_yaml(body)
    else:
        raise UnsupportedMedia(f"Send the file with the header Content-Type: {YAML}, or as {JSON}.")
    try:
        manifest = Manifest.model_validate(data)
    except ValidationError as error:
        raise InvalidInput.of([_located(each, lines) for each in error.errors()[:MAX_ERRORS]]) from None
    read = ParsedManifest(manifest.configs, lines)
    if twice := list(_twice(read)):
        raise InvalidInput.of(twice[:MAX_ERRORS])
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
        reader = yaml.YAML(typ="safe")  # parses with libyaml where it can, which is several times faster
        _require_harmless(reader.parse(text))
        node = reader.compose(text)
        if node is None:
            raise _unreadable("the file is empty; write `configs:` and a list")
        data = reader.constructor.construct_document(node)
        return data, [entry.start_mark.line + 1 for entry in _entries(node)]
    except yaml.error.MarkedYAMLError as error:
        where = f" on line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = str(error.problem or error.context)
        if isinstance(error, yaml.constructor.DuplicateKeyError):
            problem = problem.partition(" with value ")[0]  # the values can be long
        raise _unreadable(f"the body is not valid YAML{where}: {problem[:200]}") from None
    except (yaml.error.YAMLError, ValueError, RecursionError) as error:
        raise _unreadable(f"the body is not valid YAML: {str(error).splitlines()[0][:200]}") from None


def _require_harmless(parsed: Iterable[yaml.events.Event]) -> None:
    """Before anything is built: a few bytes of aliases can stand for gigabytes, and depth for the whole stack."""
    depth = documents = 0
    for event in parsed:
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.events.AliasEvent) or getattr(event, "anchor", None):
            raise _unreadable(f"line {line} has an anchor or alias (& or *), which are not read here; write it out")
        if getattr(event, "tag", None):
            raise _unreadable(f"line {line} has a tag (!), which is not read here; leave it out")
        depth += isinstance(event, yaml.events.CollectionStartEvent) - isinstance(event, yaml.events.CollectionEndEvent)
        documents += isinstance(event, yaml.events.DocumentStartEvent)
        if depth > _MAX_DEPTH:
            raise _unreadable(f"line {line} is nested deeper than a file of configs is")
        if documents > 1:
            raise _unreadable(f"line {line} begins a second document; send one")


def _entries(node: yaml.nodes.Node) -> list[yaml.nodes.Node]:
    if isinstance(node, yaml.nodes.MappingNode):
        for key, value in node.value:
            if key.value == "configs" and isinstance(value, yaml.nodes.SequenceNode):
                return list(value.value)
    return []


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


def _twice(read: ParsedManifest) -> Iterable[FieldError]:
    first: dict[ClaimKey, int] = {}
    for index, entry in enumerate(read.configs):
        for series in claim_keys(entry):
            exchange, symbol, timeframe = series
            if series in first:
                both = f"{read.place(first[series])} and {read.place(index)}"
                yield FieldError(f"#/configs/{index}", f"{both} collect {timeframe} of {symbol} on {exchange}")
            first.setdefault(series, index)
