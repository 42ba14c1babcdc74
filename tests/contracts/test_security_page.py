"""docs/security.md names existing tests that prove its statements."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ITEM = re.compile(r"^\| (API\d+) ", re.MULTILINE)
NODE = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def missing(page: str) -> list[str]:
    """The tests that a page names but that do not exist."""
    return [
        f"{path}::{name}"
        for path, name in NODE.findall(page)
        if not (ROOT / path).is_file()
        or not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    ]


def test_each_of_the_ten_risks_names_tests_that_exist() -> None:
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if ITEM.match(line)]
    assert ITEM.findall(page) == [f"API{number}" for number in range(1, 11)]
    assert [row for row in rows if not NODE.search(row)] == []
    assert missing(page) == []


def test_a_missing_test_is_reported() -> None:
    here = "tests/contracts/test_security_page.py"
    assert missing(f"`{here}::test_a_missing_test_is_reported`") == []
    assert missing(f"`{here}::test_gone` `tests/nowhere.py::test_x`") == [
        f"{here}::test_gone",
        "tests/nowhere.py::test_x",
    ]
