"""Configs as a file, so that they can live in git: what a file says, and how one is written."""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from admin_api.fields import WHOLE
from admin_api.schemas import Config, NewConfig
from contracts.timeframes import timeframe_order

MAX_CONFIGS: Final = 10_000

_HEADING: Final = "# What Candlekeep collects. POST /api/v1/admin/data-collection/configs/apply makes it so.\n"


class Manifest(BaseModel):
    """A file of configs. What an entry leaves out has its default, as in `POST /configs`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Annotated[Literal[1], WHOLE] = Field(default=1, description="Of this format.")
    configs: list[NewConfig] = Field(max_length=MAX_CONFIGS)


def as_entries(configs: Iterable[Config]) -> list[dict[str, Any]]:
    """In an order of their own and not of their ids, so that a file changes only where a config does."""
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
    return sorted(entries, key=_order)


def _order(entry: dict[str, Any]) -> tuple[Any, ...]:
    return (entry["exchange"], entry["symbol"], *map(timeframe_order, entry["timeframes"]))


def to_yaml(configs: Iterable[Config]) -> str:
    entries = [{**entry, "timeframes": _OnOneLine(entry["timeframes"])} for entry in as_entries(configs)]
    file = {"version": 1, "configs": entries}
    return _HEADING + yaml.dump(file, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _OnOneLine(list[str]):
    """`[1m, 5m]`"""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # C's, where libyaml was there
    """Writes what SafeLoader reads."""


def _on_one_line(dumper: yaml.SafeDumper, value: _OnOneLine) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)


_Dumper.add_representer(_OnOneLine, _on_one_line)
