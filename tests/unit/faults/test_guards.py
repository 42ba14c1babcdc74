import re
from itertools import takewhile
from pathlib import Path

import pytest

from support.faults.guards import (
    GUARDS,
    REPOSITORY,
    BadGuard,
    Edit,
    Guard,
    copy_repository,
    edit_files,
    judge,
    read_guard,
)

FILES = sorted(GUARDS.glob("*.toml"))
GUARD = Guard(name="one", guard="it", test="tests/x.py::test_y", fails_with="candle (missing|extra)", edits=())
SOURCE = """LIMIT = 3
class Lane:
    def open(self):
        return LIMIT

    def close(self):
        return LIMIT
"""


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_every_guard_can_be_removed_and_its_test_exists(file: Path) -> None:
    guard = read_guard(file)
    for changed, text in edit_files(guard, REPOSITORY).items():
        assert text != changed.read_text()
        compile(text, changed, "exec")
    test_file, _, test = guard.test.partition("::")
    assert f"def {test.partition('[')[0]}(" in (REPOSITORY / test_file).read_text()


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_replacements_use_attributes_that_the_changed_file_has(file: Path) -> None:
    """A renamed attribute would end the service with an error, and the guard's test would fail for that reason."""
    guard = read_guard(file)
    used = {name for edit in guard.edits for name in re.findall(r"self\.(\w+)", edit.replace)}
    source = "".join(changed.read_text() for changed in edit_files(guard, REPOSITORY))
    assert {name for name in used if not re.search(rf"self\.{name}\b", source)} == set()


def test_every_guard_in_the_docs_has_a_file() -> None:
    rows = (REPOSITORY / "docs" / "faults.md").read_text().partition("| guard |")[2].splitlines()[2:]
    assert len(FILES) == len(list(takewhile(lambda row: row.startswith("|"), rows)))


def test_an_edit_follows_its_definition_to_another_module(tmp_path: Path) -> None:
    module = a_module(tmp_path, "lanes/moved.py", SOURCE)
    assert edit_files(guard_with("Lane.close", "return LIMIT", "return None"), tmp_path) == {
        module: SOURCE.replace("close(self):\n        return LIMIT", "close(self):\n        return None")
    }


def test_several_edits_of_one_file_apply_together(tmp_path: Path) -> None:
    module = a_module(tmp_path, "lane.py", SOURCE)
    guard = guard_with("Lane.close", "return LIMIT", "return None")
    other = Edit(package="runtime", definition="LIMIT", find="3", replace="4")
    assert edit_files(guard.model_copy(update={"edits": (*guard.edits, other)}), tmp_path)[module].count("LIMIT") == 2


@pytest.mark.parametrize(
    ("definition", "find", "times"),
    [
        ("Lane.close", "return 7", 0),
        ("Lane.gone", "return LIMIT", 0),
        ("Lane", "return LIMIT", 2),
    ],
)
def test_an_edit_that_does_not_apply_exactly_once_is_refused(
    tmp_path: Path, definition: str, find: str, times: int
) -> None:
    a_module(tmp_path, "lane.py", SOURCE)
    with pytest.raises(
        BadGuard, match=f"one: `{definition}` .* must contain this text once, not {times} times: {find}"
    ):
        edit_files(guard_with(definition, find, "pass"), tmp_path)


def test_an_edit_that_applies_in_two_modules_is_refused(tmp_path: Path) -> None:
    for name in ("lane.py", "other.py"):
        a_module(tmp_path, name, SOURCE)
    with pytest.raises(BadGuard, match="not 2 times"):
        edit_files(guard_with("Lane.close", "return LIMIT", "pass"), tmp_path)


def test_a_guard_without_the_expected_failure_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "vague.toml"
    file.write_text('guard = "something"\nedits = []\n')
    with pytest.raises(BadGuard, match=r"(?s)vague\.toml: .*test\n  Field required.*fails_with\n  Field required"):
        read_guard(file)


@pytest.mark.parametrize(
    ("exit_code", "output", "noticed", "why"),
    [
        (1, "E   candle missing, binance|BTC/USDT", True, "candle missing"),
        (
            1,
            "assert not candle missing\nE   StackError: no Kafka",
            False,
            "the test failed for another reason: E   StackError: no Kafka",
        ),
        (0, "1 passed, no candle missing", False, "the test passed"),
        (2, "candle missing", False, "pytest ended with exit code 2"),
        (None, "candle missing", False, "the test did not end within 500 s"),
    ],
)
def test_a_guard_is_noticed_only_if_its_test_fails_for_the_expected_reason(
    exit_code: int | None, output: str, noticed: bool, why: str
) -> None:
    verdict = judge(GUARD, exit_code, output)
    assert (verdict.noticed, verdict.why) == (noticed, why)


def test_a_copy_contains_the_working_tree_and_is_removed_afterwards() -> None:
    with copy_repository(REPOSITORY) as copy:
        assert (copy / "pyproject.toml").read_bytes() == (REPOSITORY / "pyproject.toml").read_bytes()
        assert (copy / "tests" / "unit" / "faults" / "test_guards.py").exists()
        assert not (copy / ".venv").exists()
    assert not copy.exists()


def a_module(repository: Path, name: str, source: str) -> Path:
    module = repository / "libs" / "runtime" / "src" / "runtime" / name
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text(source)
    return module


def guard_with(definition: str, find: str, replace: str) -> Guard:
    edit = Edit(package="runtime", definition=definition, find=find, replace=replace)
    return GUARD.model_copy(update={"edits": (edit,)})
