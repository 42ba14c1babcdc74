"""The time for an input of a caller is proportional to its size, and the number of its parts is limited."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pydantic import TypeAdapter
from ruamel import yaml
from starlette.datastructures import Headers

from admin_api.auth import token_format
from admin_api.auth.cookies import session_cookie
from admin_api.auth.csrf import csrf_problem
from admin_api.configs.bulk_schemas import BulkCreate
from admin_api.events import positions
from admin_api.http import json_text
from admin_api.http.content_negotiation import preferred
from admin_api.http.cursors import decode
from admin_api.http.errors import InvalidInput
from admin_api.http.etags import parse_tags
from admin_api.http.input_types import FilterText, QueryInstant, SymbolText
from admin_api.manifests.parser import parse_manifest
from contracts.spans import intersect, subtract
from support.growth import grows_linearly

_SYMBOL: TypeAdapter[str] = TypeAdapter(SymbolText)
_FILTER: TypeAdapter[str] = TypeAdapter(FilterText)
_INSTANT: TypeAdapter[Any] = TypeAdapter(QueryInstant)

PARSERS: Mapping[str, Callable[[str], object]] = {
    "a YAML manifest": lambda text: parse_manifest(text.encode(), "application/yaml"),
    "the configs of a YAML manifest": lambda text: parse_manifest(f"configs: {text}".encode(), "application/yaml"),
    "a JSON manifest": lambda text: parse_manifest(text.encode(), "application/json"),
    "a JSON array": lambda text: json_text.parse_json(f"[{text}".encode()),
    "If-Match": lambda text: parse_tags(text, "If-Match"),
    "Accept": lambda text: preferred(text, ("application/yaml", "application/json")),
    "Cookie": lambda text: session_cookie(Headers({"cookie": text}), secure=False),
    "Origin": lambda text: csrf_problem("POST", Headers({"x-csrf-protection": "1", "origin": text}), scheme="http"),
    "a token": token_format.parse,
    "a cursor": lambda text: decode(text, "query", (int,)),
    "an event id": positions.decode,
    "a symbol": _SYMBOL.validate_python,
    "a filter": _FILTER.validate_python,
    "a time": _INSTANT.validate_python,
}
PIECES = (
    *("[],", "{},", "a,", '"",', '"a":1,', "a: 1\n", "- a\n", "? a\n", "1:", "9", "_", ".", "1e", "-", ",", ";", " "),
    *("\n", "# a\n", "'", '"', "\\", "\\ud83d", "&a ", "*a ", "!t ", "%", "---\n", "|\n", "[", "{", "]", "<<: {},"),
    *("a=b;", "q=0.1,", "*/*;", 'W/"a",', "a/", "T1 ", "é", "- - ", "x:\n"),
)


@pytest.mark.parametrize("name", PARSERS)
def test_the_time_for_repeated_pieces_grows_like_their_number(name: str) -> None:
    squared = [
        (begin, piece)
        for begin in ("", '"', "[", "{")
        for piece in PIECES
        if not grows_linearly(PARSERS[name], lambda size: begin + piece * (size // len(piece)))  # noqa: B023 -- called at once
    ]
    assert not squared


def test_the_time_for_one_name_twice_among_many_grows_like_their_number() -> None:
    def parse(text: str) -> None:
        json_text.parse_json(text.encode(), max_members=10**9)

    def text_of(size: int) -> str:
        names = [f'"{number}":1' for number in range(size // 10)]
        return "{" + ",".join([*names, names[-1]]) + "}"

    assert grows_linearly(parse, text_of)
    with pytest.raises(json_text.RefusedJson, match="'1999' twice"):
        parse(text_of(20_000))


def test_the_time_for_spans_grows_like_their_number() -> None:
    def combine(text: str) -> None:
        spans = [(20 * number, 20 * number + 10) for number in range(len(text) // 10)]
        holes = [(20 * number + 5, 20 * number + 15) for number in range(len(text) // 10)]
        subtract(spans, holes)
        intersect(spans, holes)

    assert grows_linearly(combine, lambda size: " " * size)


def test_the_measurement_detects_a_squared_path() -> None:
    def squared(text: str) -> None:
        pairs = text.split(",")
        assert not [each for each in pairs if pairs.count(each) > 1]

    assert not grows_linearly(squared, lambda size: ",".join(map(str, range(size // 10))))


def test_a_large_yaml_file_is_refused_after_a_limited_number_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    parse, read = yaml.YAML.parse, 0

    def counted(self: yaml.YAML, text: str) -> Any:
        nonlocal read
        for event in parse(self, text):
            read += 1
            yield event

    monkeypatch.setattr(yaml.YAML, "parse", counted)
    for hostile in ("[" + "[]," * 1_300_000 + "]", "configs: [" + "{<<: {}}," * 400_000 + "]", "[" * 4_000_000):
        read = 0
        with pytest.raises(InvalidInput):
            parse_manifest(hostile.encode(), "application/yaml")
        assert read < 400_010, hostile[:20]


@pytest.mark.parametrize("hostile", [b"[" + b"[]," * 1_300_000 + b"[]]", b"[" + b"1," * 2_000_000 + b"1]"])
def test_large_json_is_refused_before_it_is_parsed(hostile: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("json.loads was called")

    monkeypatch.setattr(json, "loads", never)
    with pytest.raises(json_text.RefusedJson, match="400000 commas and brackets"):
        json_text.parse_json(hostile)


def test_the_errors_of_a_large_body_are_limited() -> None:
    entry = "{" + ",".join(f'"x{number}": 1' for number in range(json_text.MAX_MEMBERS)) + "}"
    with pytest.raises(json_text.RefusedJson, match="more than 50 members"):
        json_text.parse_json(entry.replace("{", '{"one more": 1,').encode())
    body = '{"configs": [' + ",".join([entry] * 1000) + "]}"
    with pytest.raises(ValueError, match="validation errors") as refusal:
        BulkCreate.model_validate(json_text.parse_json(body.encode()))
    assert refusal.value.error_count() <= 1000 * (json_text.MAX_MEMBERS + 3)  # type: ignore[attr-defined]
    with pytest.raises(InvalidInput) as refused:
        parse_manifest(body.encode(), "application/json")
    assert len(refused.value.errors) == 20
