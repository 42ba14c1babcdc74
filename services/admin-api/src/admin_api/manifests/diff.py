"""What has to change for the database to say what a file says."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from admin_api.configs.repository import ConfigChange
from admin_api.configs.schemas import Config, NewConfig


@dataclass(frozen=True)
class Diff:
    """Entries are named by their place in the file."""

    added: Mapping[int, NewConfig]
    changed: Mapping[int, ConfigChange]
    unchanged: Sequence[Config]
    not_in_file: Sequence[Config]


def diff(existing: Sequence[Config], wanted: Sequence[NewConfig], now: datetime) -> Diff:
    """A file has no ids: which entry means which config is decided within an exchange's symbol.

    The pair that shares most timeframes comes first, then the next; what is left is the same config when there is one
    config and one entry of it. So a config keeps its id, its logs' name and its schedule while its timeframes change.
    The order of timeframes is no difference: it means nothing, and a file has its own.
    """
    entries: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, entry in enumerate(wanted):
        entries[entry.exchange, entry.symbol].append(index)
    configs: dict[tuple[str, str], list[Config]] = defaultdict(list)
    for config in existing:
        configs[config.exchange, config.symbol].append(config)
    meant = {
        index: config
        for pair, indexes in entries.items()
        for index, config in _pairs(indexes, configs[pair], wanted).items()
    }
    changes = {index: _change(config, wanted[index], now) for index, config in sorted(meant.items())}
    kept = {config.id for config in meant.values()}
    return Diff(
        added={index: entry for index, entry in enumerate(wanted) if index not in meant},
        changed={index: change for index, change in changes.items() if change is not None},
        unchanged=[meant[index] for index, change in changes.items() if change is None],
        not_in_file=[config for config in existing if config.id not in kept],
    )


def _pairs(indexes: Sequence[int], configs: Sequence[Config], wanted: Sequence[NewConfig]) -> dict[int, Config]:
    """Which entry means which config, all of one exchange's symbol. At a tie the older config, the earlier entry."""
    shared = sorted(
        (-len(set(config.timeframes) & set(wanted[index].timeframes)), config.id, index)
        for index in indexes
        for config in configs
    )
    by_id = {config.id: config for config in configs}
    pairs: dict[int, Config] = {}
    for overlap, config_id, index in shared:
        if overlap and config_id in by_id and index not in pairs:
            pairs[index] = by_id.pop(config_id)
    left = [index for index in indexes if index not in pairs]
    if len(left) == len(by_id) == 1:
        pairs[left[0]] = next(iter(by_id.values()))
    return pairs


def _change(config: Config, entry: NewConfig, now: datetime) -> ConfigChange | None:
    values = entry.model_dump()
    if set(config.timeframes) == set(entry.timeframes):
        del values["timeframes"]
    return ConfigChange.of(config, values, now)
