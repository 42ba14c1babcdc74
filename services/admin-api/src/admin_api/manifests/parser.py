"""Parses untrusted manifests: rejects tags, aliases and deep nesting, and reports every error with its line."""

import json
import re
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
"""More than a manifest needs: a mapping of a list of mappings of lists."""
_OLD_NUMBER: Final = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]*_[0-9a-fA-F_]*|[0-9]+_[0-9_.]*)", re.ASCII)
"""Numbers in YAML 1.1 that are texts in YAML 1.2, although the parser would read them as numbers."""


@dataclass(frozen=True)
class ParsedManifest:
    """The entries of a manifest and the line on which each begins. `lines` is empty for JSON."""

    configs: Sequence[NewConfig]
    lines: Sequence[int]

    def place(self, index: int) -> str:
        """The index and line of an entry, for error messages."""
        return f"configs[{index}]" + (f" (line {self.lines[index]})" if index < len(self.lines) else "")


def parse_manifest(body: bytes, content_type: str) -> ParsedManifest:
    """Raises `InvalidInput`, `UnsupportedMedia`. Slow for a large file: call it outside the event loop."""
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
        raise InvalidInput.of([_field_error(each, lines) for each in error.errors()[:MAX_ERRORS]]) from None
    parsed = ParsedManifest(manifest.configs, lines)
    if duplicates := list(_duplicates(parsed)):
        raise InvalidInput.of(duplicates[:MAX_ERRORS])
    return parsed


def _from_json(body: bytes) -> Any:
    try:
        return json.loads(body, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"the body is not valid JSON: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        duplicate = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object contains {duplicate[:100]!r} twice")
    return result


def _from_yaml(body: bytes) -> tuple[Any, list[int]]:
    try:
        text = body.decode("utf-8-sig")
        reader = yaml.YAML(typ="safe")  # uses libyaml if it is available, which is several times faster
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
    """Checks the events before any object is built.

    A few bytes of aliases can expand to gigabytes, and deep nesting can overflow the stack.
    """
    depth = documents = 0
    for event in parsed:
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.events.AliasEvent) or getattr(event, "anchor", None):
            raise _unreadable(
                f"line {line} has an anchor or alias (& or *), which is not supported; repeat the value instead"
            )
        if getattr(event, "tag", None):
            raise _unreadable(f"line {line} has a tag (!), which is not supported; leave it out")
        if getattr(event, "version", None) not in {None, (1, 2)}:
            raise _unreadable(f"line {line} selects another version of YAML; leave out %YAML, or write %YAML 1.2")
        if isinstance(event, yaml.events.ScalarEvent) and event.implicit[0] and _OLD_NUMBER.fullmatch(event.value):
            raise _unreadable(
                f"line {line} has {event.value[:50]!r}, a number of YAML 1.1; write plain digits, or quote a text"
            )
        depth += isinstance(event, yaml.events.CollectionStartEvent) - isinstance(event, yaml.events.CollectionEndEvent)
        documents += isinstance(event, yaml.events.DocumentStartEvent)
        if depth > _MAX_DEPTH:
            raise _unreadable(f"line {line} is nested too deeply for a file of configs")
        if documents > 1:
            raise _unreadable(f"line {line} begins a second document; send only one")


def _entries(node: yaml.nodes.Node) -> list[yaml.nodes.Node]:
    if isinstance(node, yaml.nodes.MappingNode):
        for key, value in node.value:
            if key.value == "configs" and isinstance(value, yaml.nodes.SequenceNode):
                return list(value.value)
    return []


def _unreadable(detail: str) -> InvalidInput:
    return InvalidInput.of([FieldError("#", detail)])


def _field_error(detail: Any, lines: Sequence[int]) -> FieldError:
    loc = detail["loc"]
    if not loc:
        return FieldError("#", "the file must contain `configs:` and a list")
    error = field_error({**detail, "loc": ("body", *loc)})
    if loc[:1] == ("configs",) and len(loc) > 1 and isinstance(loc[1], int) and loc[1] < len(lines):
        return FieldError(error.pointer, f"{error.detail} (in the entry on line {lines[loc[1]]})")
    return error


def _duplicates(parsed: ParsedManifest) -> Iterable[FieldError]:
    """Timeframes of a symbol on an exchange that two entries collect."""
    first: dict[ClaimKey, int] = {}
    for index, entry in enumerate(parsed.configs):
        for series in claim_keys(entry):
            exchange, symbol, timeframe = series
            if series in first:
                both = f"{parsed.place(first[series])} and {parsed.place(index)}"
                yield FieldError(f"#/configs/{index}", f"{both} collect {timeframe} of {symbol} on {exchange}")
            first.setdefault(series, index)
