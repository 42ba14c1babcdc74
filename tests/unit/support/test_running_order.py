"""The parts of a run: equal numbers of tests, and long ones first in each."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support.running_order import long_ones_first


def a_test(path: str, *, marks: tuple[str, ...] = (), fixtures: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(
        path=Path(path), fixturenames=fixtures, get_closest_marker=lambda name: name if name in marks else None
    )


def test_each_worker_begins_with_long_tests_and_ends_with_short_ones() -> None:
    short = [a_test(f"unit/test_{number}.py") for number in range(20)]
    stored = [a_test(f"integration/{folder}/test_a.py", fixtures=("postgres",)) for folder in "aabc"]
    own_limit = [a_test("unit/test_model.py", marks=("timeout",))]
    system = [a_test(f"e2e/test_{number}.py", marks=("system",)) for number in range(3)]
    items = [*short, *stored, *own_limit, *system]

    ordered = long_ones_first(items, 2)
    assert sorted(map(id, ordered)) == sorted(map(id, items))
    first, second = ordered[:14], ordered[14:]
    assert first == [*system, stored[2], *short[:10]]
    assert second == [*own_limit, *stored[:2], stored[3], *short[10:]]


def test_long_tests_of_one_folder_alone_are_not_lost() -> None:
    items = [a_test("e2e/test_a.py", marks=("system",)) for _ in range(5)]
    assert long_ones_first(items, 2) == items


def test_long_tests_of_a_folder_and_its_subfolder_share_a_worker() -> None:
    pages = [a_test(f"e2e/dashboard/test_{number}.py", marks=("system",)) for number in range(3)]
    system = [a_test(f"e2e/test_{number}.py", marks=("system",)) for number in range(3)]
    short = [a_test(f"unit/test_{number}.py") for number in range(20)]
    assert long_ones_first([*pages, *system, *short], 2)[:6] == [*pages, *system]
