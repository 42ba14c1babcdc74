"""The changes that make the configs in the database equal to the entries of a manifest."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from admin_api.configs.repository import ConfigChange
from admin_api.configs.schemas import Config, NewConfig


@dataclass(frozen=True)
class Diff:
    """`added` and `changed` are keyed by the index of the entry in the file."""

    added: Mapping[int, NewConfig]
    changed: Mapping[int, ConfigChange]
    unchanged: Sequence[Config]
    not_in_file: Sequence[Config]


def diff(existing: Sequence[Config], entries: Sequence[NewConfig], now: datetime) -> Diff:
    """Compare entries with configs. Entries have no ids, so entries and configs of the same exchange and symbol are
    matched by their timeframes.

    The pair with the most common timeframes is matched first, then the next pair. If one entry and one config remain,
    they are also matched. So if the timeframes of a config change, it keeps its id, the name in its logs and its
    schedule. The order of timeframes has no meaning, so another order is not a difference.
    """
    indexes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, entry in enumerate(entries):
        indexes[entry.exchange, entry.symbol].append(index)
    configs: dict[tuple[str, str], list[Config]] = defaultdict(list)
    for config in existing:
        configs[config.exchange, config.symbol].append(config)
    matches = {
        index: config
        for pair, of_pair in indexes.items()
        for index, config in _matches(of_pair, configs[pair], entries).items()
    }
    changes = {index: _change(config, entries[index], now) for index, config in sorted(matches.items())}
    matched_ids = {config.id for config in matches.values()}
    return Diff(
        added={index: entry for index, entry in enumerate(entries) if index not in matches},
        changed={index: change for index, change in changes.items() if change is not None},
        unchanged=[matches[index] for index, change in changes.items() if change is None],
        not_in_file=[config for config in existing if config.id not in matched_ids],
    )


def _matches(indexes: Sequence[int], configs: Sequence[Config], entries: Sequence[NewConfig]) -> dict[int, Config]:
    """The config of each entry, all of one exchange and symbol.

    If several pairs have the same number of common timeframes, the older config and the earlier entry are matched
    first.
    """
    by_overlap = sorted(
        (-len(set(config.timeframes) & set(entries[index].timeframes)), config.id, index)
        for index in indexes
        for config in configs
    )
    by_id = {config.id: config for config in configs}
    matched: dict[int, Config] = {}
    for overlap, config_id, index in by_overlap:
        if overlap and config_id in by_id and index not in matched:
            matched[index] = by_id.pop(config_id)
    remaining = [index for index in indexes if index not in matched]
    if len(remaining) == len(by_id) == 1:
        matched[remaining[0]] = next(iter(by_id.values()))
    return matched


def _change(config: Config, entry: NewConfig, now: datetime) -> ConfigChange | None:
    values = entry.model_dump()
    if set(config.timeframes) == set(entry.timeframes):
        del values["timeframes"]
    return ConfigChange.of(config, values, now)
