"""The tests that docs/security.md names exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ITEM = re.compile(r"^\| (API\d+) ", re.MULTILINE)
ABUSE = "## Abuse and the test that shows it is held off"
NODE = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def missing(page: str) -> list[str]:
    """The tests that a page names and that do not exist."""
    return [
        f"{path}::{name}"
        for path, name in NODE.findall(page)
        if not (ROOT / path).is_file()
        or not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    ]


def test_each_of_the_ten_risks_names_existing_tests() -> None:
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if ITEM.match(line)]
    assert ITEM.findall(page) == [f"API{number}" for number in range(1, 11)]
    assert [row for row in rows if not NODE.search(row)] == []
    assert missing(page) == []


def rows_of_the_abuse_table(page: str) -> list[str]:
    return re.findall(r"^\| (?!abuse \||-).+", page.partition(ABUSE)[2], re.MULTILINE)


def test_each_abuse_names_existing_tests() -> None:
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    rows = rows_of_the_abuse_table(page)
    assert rows
    assert [row for row in rows if not NODE.search(row)] == []
    assert [name for row in rows for name in missing(row)] == []


def test_the_rows_of_the_abuse_table_are_found() -> None:
    page = f"| other | row |\n{ABUSE}\n\n| abuse | test |\n|---|---|\n| one | `a` |\n| two | |\n"
    assert rows_of_the_abuse_table(page) == ["| one | `a` |", "| two | |"]


def test_a_missing_test_is_found() -> None:
    here = "tests/contracts/test_security_page.py"
    assert missing(f"`{here}::test_a_missing_test_is_found`") == []
    assert missing(f"`{here}::test_gone` `tests/nowhere.py::test_x`") == [
        f"{here}::test_gone",
        "tests/nowhere.py::test_x",
    ]
