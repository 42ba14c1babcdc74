"""The order in which the workers of a run get the tests: long ones first.

With `--dist worksteal`, each worker gets a contiguous part of the list, and all parts have the same number of tests. A
worker that has finished takes the last tests of another one. So all end together if each part ends with short tests.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

_SERVERS: Final = frozenset({"kafka", "postgres"})
_SHORT: Final = 3


def long_ones_first(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """One part per worker. Long tests of a folder are in one part, because they can share a running system."""
    parts: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for rank in range(_SHORT):
        for folder in _by_folder(item for item in items if _rank(item) == rank):
            min(parts, key=len).extend(folder)
    short = [item for item in items if _rank(item) == _SHORT]
    for number in range(workers):
        missing = len(items) * (number + 1) // workers - len(items) * number // workers - len(parts[number])
        parts[number] += short[: max(0, missing)]
        del short[: max(0, missing)]
    return [*chain.from_iterable(parts), *short]


def _by_folder(items: Iterable[pytest.Item]) -> Iterable[list[pytest.Item]]:
    """The tests of each folder. Those of a folder inside another one are with the tests of the outer one."""
    found = list(items)
    paths = {item.path.parent for item in found}
    folders: dict[Path, list[pytest.Item]] = {}
    for item in found:
        outermost = next(each for each in reversed((item.path.parent, *item.path.parent.parents)) if each in paths)
        folders.setdefault(outermost, []).append(item)
    return folders.values()


def _rank(item: pytest.Item) -> int:
    """0: the whole system; 1: a time limit of its own; 2: Kafka or Postgres; 3: neither."""
    if item.get_closest_marker("system") or item.get_closest_marker("faults"):
        return 0
    if item.get_closest_marker("timeout"):
        return 1
    fixtures: Sequence[str] = getattr(item, "fixturenames", ())
    return _SHORT if _SERVERS.isdisjoint(fixtures) else 2
