"""Manifests: writing and parsing, comparison with the database, and refusal of harmful or invalid files."""

import contextlib
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from admin_api.configs.schemas import Config, NewConfig
from admin_api.http.errors import InvalidInput, UnsupportedMedia
from admin_api.manifests.diff import Diff, diff
from admin_api.manifests.format import as_entries, json_parts, yaml_parts
from admin_api.manifests.parser import parse_manifest

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TIMEFRAMES = ("1s", "1m", "5m", "15m", "1h", "4h", "1d", "1w", "1M")


def stored(config_id: int, **values: Any) -> Config:
    defaults = {"symbol": "BTC/USDT", "exchange": "binance", "timeframes": ["1m"], "interval_minutes": 10}
    return Config(
        id=config_id,
        job_id=f"collect_data_{config_id}",
        created_at=NOW,
        updated_at=NOW,
        version=1,
        **{**defaults, "enabled": True, "description": None, **values},
    )


def to_yaml(configs: list[Config]) -> str:
    return "".join(yaml_parts(configs))


def entry(**values: Any) -> NewConfig:
    return NewConfig(**{"symbol": "BTC/USDT", "exchange": "binance", "timeframes": ["1m"], **values})


@st.composite
def divided_timeframes(draw: st.DrawFn) -> list[list[str]]:
    """Some of the timeframes, divided among the configs of one symbol."""
    order = draw(st.permutations(TIMEFRAMES))
    cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=4)))
    parts = [list(order[begin:end]) for begin, end in zip([0, *cuts], cuts, strict=False)]
    return [part for part in parts if part]


VALUES = st.fixed_dictionaries(
    {
        "interval_minutes": st.integers(1, 10080),
        "enabled": st.booleans(),
        "description": st.none()
        | st.text(
            st.characters(
                exclude_categories=["Cs"], exclude_characters=[chr(n) for n in range(32) if chr(n) not in "\n\r\t"]
            ),
            max_size=30,
        )
        | st.sampled_from(
            [
                "a text",
                "x: y",
                "a:b",
                "1m",
                "a " * 60,
                "-a",
                "a -b",
                "yes",
                "null",
                "12:30",
                "1e3",
                "- a",
                "a: b",
                "# no",
                "'",
                "two\nlines\n",
                "\ttab",
                " ",
                "~",
            ]
        ),
    }
)
SYMBOLS = st.sampled_from(["BTC/USDT", "1/2", "币安人生/USDT", "kPEPE/USDC:USDC", "NO/YES", "0x1/1_0"])


@st.composite
def many_configs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Configs that do not overlap: no two collect the same timeframe."""
    configs = []
    for exchange in ("binance", "no"):
        for symbol in draw(st.sets(SYMBOLS, max_size=3)):
            configs += [
                {"exchange": exchange, "symbol": symbol, "timeframes": part, **draw(VALUES)}
                for part in draw(divided_timeframes())
            ]
    return draw(st.permutations(configs))


def stored_configs(values: list[dict[str, Any]]) -> list[Config]:
    return [stored(number, **each) for number, each in enumerate(values, start=1)]


def comparable(values: dict[str, Any]) -> tuple[Any, ...]:
    names = ("exchange", "symbol", "interval_minutes", "enabled", "description")
    return (frozenset(values["timeframes"]), *(values[name] for name in names))


@settings(deadline=None)
@given(many_configs())
def test_a_manifest_that_is_exported_and_applied_changes_nothing(values: list[dict[str, Any]]) -> None:
    existing = stored_configs(values)
    as_yaml = parse_manifest(to_yaml(existing).encode(), "application/yaml")
    as_json = parse_manifest("".join(json_parts(existing)).encode(), "application/json; charset=utf-8")
    for file in (as_yaml, as_json):
        difference = diff(existing, file.configs, NOW)
        assert (difference.added, difference.changed, difference.not_in_file) == ({}, {}, [])
        assert len(difference.unchanged) == len(existing)


@settings(deadline=None)
@given(many_configs(), st.randoms())
def test_a_manifest_does_not_depend_on_ids_or_the_order_of_rows(values: list[dict[str, Any]], random: Any) -> None:
    shuffled = random.sample(values, len(values))
    assert to_yaml(stored_configs(shuffled)) == to_yaml(stored_configs(values))


def applied(existing: list[Config], difference: Diff) -> list[Config]:
    changed = {change.before.id: change.after for change in difference.changed.values()}
    removed = {config.id for config in difference.not_in_file}
    remaining = [changed.get(config.id, config) for config in existing if config.id not in removed]
    highest = max((config.id for config in existing), default=0)
    return remaining + [
        stored(highest + n, **each.model_dump()) for n, each in enumerate(difference.added.values(), start=1)
    ]


@settings(deadline=None)
@given(many_configs(), many_configs())
def test_no_difference_remains_after_it_is_applied(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    existing = stored_configs(before)
    entries = [NewConfig(**each) for each in after]
    difference = diff(existing, entries, NOW)
    result = applied(existing, difference)
    assert Counter(comparable(each.model_dump()) for each in result) == Counter(map(comparable, after))
    again = diff(result, entries, NOW)
    assert (again.added, again.changed, again.not_in_file) == ({}, {}, [])
    for change in difference.changed.values():
        assert change.fields
        assert (change.before.exchange, change.before.symbol) == (change.after.exchange, change.after.symbol)
        assert change.after.version == change.before.version + 1


@pytest.mark.parametrize(
    ("before", "after", "matches"),
    [
        ([["1m"]], [["1h"]], {0: 1}),
        ([["1m", "5m"]], [["1m"], ["5m"]], {0: 1}),
        ([["1m", "5m"]], [["1h"], ["5m"]], {1: 1}),
        ([["1m"], ["5m"]], [["1m", "5m"]], {0: 1}),
        ([["1m"], ["5m", "1h"]], [["1m", "5m", "1h"]], {0: 2}),
        ([["1m", "5m"], ["1h"]], [["5m", "1h"], ["1m"]], {0: 1, 1: 2}),
        ([["1m"], ["5m"]], [["1h"], ["1d"]], {}),
        ([["1m"], ["5m"]], [["1h"], ["5m"]], {1: 2, 0: 1}),
    ],
)
def test_entries_are_matched_with_configs(
    before: list[list[str]], after: list[list[str]], matches: dict[int, int]
) -> None:
    existing = [stored(number, timeframes=each) for number, each in enumerate(before, start=1)]
    difference = diff(existing, [entry(timeframes=each) for each in after], NOW)
    changed = {index: change.before.id for index, change in difference.changed.items()}
    unchanged = {after.index(config.timeframes): config.id for config in difference.unchanged}
    assert changed | unchanged == matches
    assert set(difference.added) == set(range(len(after))) - set(matches)


def test_another_order_of_timeframes_is_no_difference_and_the_stored_order_stays() -> None:
    existing = [stored(1, timeframes=["1h", "1m"])]
    assert diff(existing, [entry(timeframes=["1m", "1h"])], NOW).unchanged == existing
    difference = diff(existing, [entry(timeframes=["1m", "1h"], interval_minutes=20)], NOW)
    assert difference.changed[0].after.timeframes == ["1h", "1m"]


def test_an_exported_manifest_is_easy_to_read() -> None:
    configs = [
        stored(2, symbol="ETH/USDT", timeframes=["1h", "1m"], description="Ether"),
        stored(1, timeframes=["1d", "1w"], enabled=False),
    ]
    assert to_yaml(configs).splitlines()[1:] == [
        "version: 1",
        "configs:",
        "- exchange: binance",
        "  symbol: BTC/USDT",
        "  timeframes: [1d, 1w]",
        "  interval_minutes: 10",
        "  enabled: false",
        "- exchange: binance",
        "  symbol: ETH/USDT",
        "  timeframes: [1m, 1h]",
        "  interval_minutes: 10",
        "  enabled: true",
        "  description: Ether",
    ]


@settings(deadline=None)
@given(many_configs())
def test_the_parts_of_a_file_contain_the_entries_for_every_yaml_version(values: list[dict[str, Any]]) -> None:
    content = {"version": 1, "configs": as_entries(stored_configs(values))}
    text = to_yaml(stored_configs(values))
    assert yaml.safe_load(text) == content, "YAML 1.1"
    assert YAML(typ="safe", pure=True).load(text) == content, "YAML 1.2"
    assert json.loads("".join(json_parts(stored_configs(values)))) == content


def test_a_file_of_many_configs_is_complete() -> None:
    configs = [stored(number, symbol=f"C{number}/USDT", description='a "text": # and é') for number in range(1, 1002)]
    text = to_yaml(configs)
    assert text.count("\n- exchange: ") == 1001
    assert len(parse_manifest(text.encode(), "application/yaml").configs) == 1001
    assert len(parse_manifest("".join(json_parts(configs)).encode(), "application/json").configs) == 1001


def test_text_that_yaml_1_1_reads_as_another_type_is_written_in_quotes() -> None:
    for text in ("yes", "12:30", "010", "0x1F", "1_000", "2025-01-01", "null", "~", "<<"):
        assert yaml.safe_load(to_yaml([stored(1, description=text)]))["configs"][0]["description"] == text


@pytest.mark.parametrize("number", ["1_0", "0b101", "-1_0", "1_0.5", "0x1_F"])
def test_numbers_that_only_yaml_1_1_has_are_refused_with_their_line(number: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_manifest(
            ONE.replace("timeframes", f"interval_minutes: {number}, timeframes").encode(), "application/yaml"
        )
    assert f"'{number}', a number of YAML 1.1" in caught.value.errors[0].detail


@pytest.mark.parametrize("text", ["1:40", "190:20:30"])
def test_numbers_to_the_base_60_are_texts(text: str) -> None:
    block = "configs:\n- exchange: binance\n  symbol: BTC/USDT\n  timeframes: [1m]\n  {}: " + text + "\n"
    with pytest.raises(InvalidInput) as caught:
        parse_manifest(block.format("interval_minutes").encode(), "application/yaml")
    assert caught.value.errors[0].pointer == "#/configs/0/interval_minutes"
    described = parse_manifest(block.format("description").encode(), "application/yaml")
    assert described.configs[0].description == text


def test_another_version_of_yaml_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_manifest(b"%YAML 1.1\n---\n" + ONE.encode(), "application/yaml")
    assert "another version of YAML" in caught.value.errors[0].detail
    assert len(parse_manifest(b"%YAML 1.2\n---\n" + ONE.encode(), "application/yaml").configs) == 1


def test_numbers_are_read_as_yaml_1_2_reads_them() -> None:
    read = parse_manifest(ONE.replace("timeframes", "interval_minutes: 010, timeframes").encode(), "application/yaml")
    assert read.configs[0].interval_minutes == 10, "YAML 1.1 takes 010 for the octal number 8"


ONE = "configs:\n- {exchange: binance, symbol: BTC/USDT, timeframes: [1m, 5m]}\n"
BAD = [
    ("", "#", "empty"),
    ("# nothing\n", "#", "empty"),
    ("configs", "#", "must contain `configs:`"),
    ("[]", "#", "must contain `configs:`"),
    ("configs: {}", "#/configs", "valid list"),
    ("version: 2\nconfigs: []", "#/version", "1"),
    ("configs: []\nmore: 1", "#/more", "no such field"),
    (
        "configs:\n- exchange: binance\n  symbol: BTC/USDT\n",
        "#/configs/0/timeframes",
        "is required (in the entry on line 2)",
    ),
    (ONE + "- {exchange: kraken, symbol: BTC, timeframes: [1m]}", "#/configs/1/symbol", "line 3"),
    (ONE + "- {exchange: kraken, symbol: A/B, timeframes: [1m], enabled: 'yes'}", "#/configs/1/enabled", "boolean"),
    (ONE + ONE.partition("\n")[2], "#/configs/1", "configs[0] (line 2) and configs[1] (line 3) collect 1m"),
    (ONE + "configs: []", "#", 'on line 3: found duplicate key "configs"'),
    ("configs:\n- exchange: a\n  exchange: b\n", "#", 'on line 3: found duplicate key "exchange"'),
    ("a: &a [1]\nb: *a", "#", "anchor"),
    ("configs: !!python/object/apply:os.system ['true']", "#", "tag"),
    ("configs: !!set {a, b}", "#", "tag"),
    ("--- {}\n--- {}", "#", "second document"),
    ("configs:\n  - [", "#", "not valid YAML on line"),
    ("configs: [" + "[" * 100_000, "#", "nested"),
    ("configs: \x00", "#", "not valid YAML"),
    ("? [1, 2]\n: 3", "#", "line 1 has a key that is not a name"),
    ("configs:\n- <<: {exchange: kraken}", "#", "line 2 has a key that is not a name"),
    (ONE + "- {exchange: kraken, symbol: A/B, timeframes: [1m], enabled: yes}", "#/configs/1/enabled", "boolean"),
    (
        ONE + "- exchange: kraken\n  symbol: A/B\n  timeframes: [1m]\n  interval_minutes: 1:40\n",
        "#/configs/1/interval_minutes",
        "line 3",
    ),
    (ONE + "- {exchange: kraken, description:\n    {a: 1, a: 2}}", "#", """on line 4: found duplicate key "a\""""),
    ("configs: 2025-99-99", "#/configs", "valid list"),
    ("configs: " + "9" * 5000, "#", "line 1 has a text of more than 4000 characters"),
    ("configs: [" + "a," * 400_000 + "]", "#", "the limit of 400000 keys and values"),
]


@pytest.mark.parametrize(("text", "pointer", "words"), BAD, ids=[case[0][:30] for case in BAD])
def test_a_bad_file_is_refused_with_the_place_of_the_error(text: str, pointer: str, words: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_manifest(text.encode(), "application/yaml")
    [error] = [each for each in refusal.value.errors if each.pointer == pointer][:1]
    assert words in error.detail


@pytest.mark.parametrize(
    "body", [b"{", b"", b"[" * 100_000, b'{"configs": [], "configs": []}', b'{"configs": "\xff"}', b"9" * 5000]
)
def test_bad_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="not valid JSON"):
        parse_manifest(body, "application/json")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_a_body_with_another_content_type_is_refused(kind: str) -> None:
    with pytest.raises(UnsupportedMedia, match="application/yaml"):
        parse_manifest(ONE.encode(), kind)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="configs: []{}-&*!|>'\"?#%@`,\n\t 1m/", max_size=60) | st.binary(max_size=40))
def test_any_body_is_parsed_or_refused(body: str | bytes) -> None:
    for kind in ("application/yaml", "application/json"):
        with contextlib.suppress(InvalidInput):
            parse_manifest(body if isinstance(body, bytes) else body.encode(), kind)
