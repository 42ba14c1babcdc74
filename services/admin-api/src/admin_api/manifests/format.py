"""The manifest: all configs as one file, for example to keep them in git. Its model, and its YAML."""

import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from ruamel.yaml.resolver import implicit_resolvers
from sqlalchemy import Row

from admin_api.configs.schemas import Config, NewConfig
from admin_api.http.input_types import INTEGRAL_NUMBER, StrictInput
from contracts.timeframes import timeframe_order

MAX_CONFIGS: Final = 10_000
_BATCH: Final = 500
"""The number of entries in one part of a file."""
_SIMPLE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_/.-]*([ :][A-Za-z0-9_/.-]+)*")
"""Matches text that needs no quotes in YAML unless it is ambiguous: it has no indicator, no space at its ends, and no
colon before a space.
"""
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


_HEADING: Final = (
    "# The configs of Candlekeep. Apply this file with POST /api/v1/admin/data-collection/configs/apply.\n"
)


class Manifest(StrictInput):
    """A file of configs. If an entry leaves out a field, the field has its default, as in `POST /configs`."""

    version: Annotated[Literal[1], INTEGRAL_NUMBER] = Field(default=1, description="The version of the file format.")
    configs: list[NewConfig] = Field(max_length=MAX_CONFIGS)


def as_entries(configs: Iterable[Config | Row[Any]]) -> list[dict[str, Any]]:
    """The configs as entries of a file. They are sorted by content and not by id, so that a file changes only where a
    config changes.
    """
    entries = []
    for config in configs:
        entry = {
            "exchange": config.exchange,
            "symbol": config.symbol,
            "timeframes": list(_sorted(tuple(config.timeframes))),
            "interval_minutes": config.interval_minutes,
            "enabled": config.enabled,
        }
        optional = {"description": config.description, "start_date": config.start_date}
        entries.append(entry | {name: value for name, value in optional.items() if value is not None})
    return sorted(entries, key=_sort_key)


def _sort_key(entry: dict[str, Any]) -> tuple[Any, ...]:
    return (entry["exchange"], entry["symbol"], _order(tuple(entry["timeframes"])))


@lru_cache(maxsize=1000)
def _sorted(timeframes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(timeframes, key=timeframe_order))


@lru_cache(maxsize=1000)
def _order(timeframes: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(map(timeframe_order, timeframes))


def json_parts(configs: Iterable[Config | Row[Any]]) -> Iterator[str]:
    """The file as JSON, in parts. Call it outside the event loop."""
    yield '{"version": 1, "configs": ['
    for number, entries in enumerate(_batches(as_entries(configs))):
        yield (", " if number else "") + json.dumps(entries)[1:-1]
    yield "]}"


def yaml_parts(configs: Iterable[Config | Row[Any]]) -> Iterator[str]:
    """The file as YAML, in parts. Call it outside the event loop."""
    entries = as_entries(configs)
    yield _HEADING + ("version: 1\nconfigs:\n" if entries else "version: 1\nconfigs: []\n")
    for batch in _batches(entries):
        yield "".join(map(_entry_text, batch))


def _batches(entries: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    return (entries[start : start + _BATCH] for start in range(0, len(entries), _BATCH))


def _entry_text(entry: dict[str, Any]) -> str:
    """The YAML text of one entry. A YAML library would need a hundred times as long and would block other requests
    during this time.
    """
    lines = [
        f"- exchange: {_name(entry['exchange'])}",
        f"  symbol: {_name(entry['symbol'])}",
        f"  timeframes: [{', '.join(map(_name, entry['timeframes']))}]",
        f"  interval_minutes: {entry['interval_minutes']}",
        f"  enabled: {str(entry['enabled']).lower()}",
    ]
    lines += [f"  {name}: {_scalar(entry[name])}" for name in ("description", "start_date") if name in entry]
    return "\n".join(lines) + "\n"


def _scalar(text: str) -> str:
    """A text in YAML, with the same meaning in YAML 1.1 and YAML 1.2.

    Text such as `yes` and `12:30` gets quotes, because it is a string in YAML 1.2 but not in YAML 1.1.
    """
    if _SIMPLE.fullmatch(text) and not _is_ambiguous(text):
        return text
    return f'"{"".join(map(_escaped, text))}"'


_name: Final = lru_cache(maxsize=MAX_CONFIGS)(_scalar)
"""A cached version for names, which are the same in each export. Descriptions are not cached, because they can be
long.
"""


def _is_ambiguous(text: str) -> bool:
    return any(pattern.match(text) for pattern in _patterns(text[:1]))


@lru_cache(maxsize=1000)
def _patterns(first: str) -> list[Any]:
    """The patterns of plain text that YAML would not read as a string, by the first character of the text."""
    return [pattern for _, _, pattern, begins in implicit_resolvers if first in begins]


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() else f"\\U{ord(character):08x}"
