"""Parses untrusted manifests, and reports every error with its line."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError

from admin_api.configs.claims import ClaimKey, claim_keys
from admin_api.configs.schemas import NewConfig
from admin_api.http.errors import MAX_ERRORS, FieldError, InvalidInput, UnsupportedMedia
from admin_api.http.json_text import parse_json, reason_of
from admin_api.http.problems import field_error
from admin_api.manifests.format import MAX_CONFIGS, Manifest
from admin_api.manifests.yaml_text import RefusedYaml, read_yaml

JSON: Final = "application/json"
YAML: Final = "application/yaml"
YAML_NAMES: Final = (YAML, "application/x-yaml", "text/yaml", "text/x-yaml", "text/vnd.yaml")


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
    parsed = ParsedManifest(_valid_entries(data, lines), lines)
    if duplicates := list(islice(_duplicates(parsed), MAX_ERRORS)):
        raise InvalidInput.of(duplicates)
    return parsed


def _from_json(body: bytes) -> Any:
    try:
        return parse_json(body)
    except ValueError as error:
        raise _unreadable(f"the body is not valid JSON: {reason_of(error)}") from None
    except RecursionError:
        raise _unreadable("the body is not valid JSON: it is nested too deeply") from None


def _from_yaml(body: bytes) -> tuple[Any, list[int]]:
    try:
        return read_yaml(body.decode("utf-8-sig"), lines_of="configs")
    except RefusedYaml as error:
        raise _unreadable(str(error)) from None
    except ValueError as error:
        raise _unreadable(f"the body is not valid YAML: {str(error)[:200]}") from None


def _valid_entries(data: Any, lines: Sequence[int]) -> list[NewConfig]:
    """The entries of the manifest. They are validated one by one, up to the entry with the last error that is reported.

    So a large file of wrong entries costs little, and other threads run between the entries. Raises `InvalidInput`.
    """
    entries = data.get("configs") if isinstance(data, dict) else None
    if not isinstance(entries, list) or len(entries) > MAX_CONFIGS:
        entries = []
        errors = _errors(data)
    else:
        errors = _errors({**data, "configs": []})
    configs: list[NewConfig] = []
    for index, entry in enumerate(entries):
        try:
            configs.append(NewConfig.model_validate(entry))
        except ValidationError as error:
            errors += [{**detail, "loc": ("configs", index, *detail["loc"])} for detail in _details(error)]
            if len(errors) >= MAX_ERRORS:
                break
    if errors:
        raise InvalidInput.of([_field_error(each, lines) for each in errors[:MAX_ERRORS]])
    return configs


def _errors(data: Any) -> list[Mapping[str, Any]]:
    try:
        Manifest.model_validate(data)
    except ValidationError as error:
        return _details(error)
    return []


def _details(error: ValidationError) -> list[Mapping[str, Any]]:
    return list(error.errors(include_url=False, include_context=False, include_input=False))


def _unreadable(detail: str) -> InvalidInput:
    return InvalidInput.of([FieldError("#", detail)])


def _field_error(detail: Mapping[str, Any], lines: Sequence[int]) -> FieldError:
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
