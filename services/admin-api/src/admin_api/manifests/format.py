"""The manifest: all configs as one file, for example to keep them in git. Its model, and its YAML."""

import io
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from ruamel.yaml import YAML, nodes
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.resolver import implicit_resolvers

from admin_api.configs.schemas import Config, NewConfig
from admin_api.http.input_types import INTEGRAL_NUMBER, StrictInput
from contracts.timeframes import timeframe_order

MAX_CONFIGS: Final = 10_000

_HEADING: Final = (
    "# The configs of Candlekeep. Apply this file with POST /api/v1/admin/data-collection/configs/apply.\n"
)


class Manifest(StrictInput):
    """A file of configs. A field that an entry leaves out has its default, as in `POST /configs`."""

    version: Annotated[Literal[1], INTEGRAL_NUMBER] = Field(default=1, description="The version of the file format.")
    configs: list[NewConfig] = Field(max_length=MAX_CONFIGS)


def as_entries(configs: Iterable[Config]) -> list[dict[str, Any]]:
    """Sorted by content and not by id, so that a file changes only where a config does."""
    entries = []
    for config in configs:
        entry = {
            "exchange": config.exchange,
            "symbol": config.symbol,
            "timeframes": sorted(config.timeframes, key=timeframe_order),
            "interval_minutes": config.interval_minutes,
            "enabled": config.enabled,
        }
        entries.append(entry if config.description is None else {**entry, "description": config.description})
    return sorted(entries, key=_sort_key)


def _sort_key(entry: dict[str, Any]) -> tuple[Any, ...]:
    return (entry["exchange"], entry["symbol"], *map(timeframe_order, entry["timeframes"]))


def to_yaml(configs: Iterable[Config]) -> str:
    entries = [{**entry, "timeframes": _FlowList(entry["timeframes"])} for entry in as_entries(configs)]
    writer = YAML(typ="safe")
    writer.Representer = _Representer
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = 120
    text = io.StringIO()
    writer.dump({"version": 1, "configs": entries}, text)
    return _HEADING + text.getvalue()


class _FlowList(list[str]):
    """Written on one line: `[1m, 5m]`."""


class _Representer(SafeRepresenter):
    """Writes YAML that has the same meaning in YAML 1.1 and YAML 1.2."""


def _represent_flow_list(representer: SafeRepresenter, value: _FlowList) -> nodes.Node:
    return representer.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)


def _represent_text(representer: SafeRepresenter, value: str) -> nodes.Node:
    """Quotes text such as `yes` and `12:30`, because it is a string in YAML 1.2 but not in YAML 1.1."""
    ambiguous = any(
        pattern.match(value) for _versions, _tag, pattern, first in implicit_resolvers if value[:1] in first
    )
    return representer.represent_scalar("tag:yaml.org,2002:str", value, style="'" if ambiguous else None)


_Representer.add_representer(_FlowList, _represent_flow_list)
_Representer.add_representer(str, _represent_text)
