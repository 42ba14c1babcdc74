"""Files and functions stay short enough to be read as a whole."""

import ast
from collections.abc import Iterator

from support.repository import ROOT, own_files

MAX_FILE = 350
MAX_FUNCTION = 60
MIGRATIONS = "libs/store/src/store/migrations/versions/"
"""A released migration does not change, and a table is declared in one piece."""


def python_files() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in own_files() if path.suffix == ".py")


def is_exempt(path: str, name: str) -> bool:
    """Whether a function may be long: it declares the metrics of a process, or it is part of a migration."""
    return path.startswith(MIGRATIONS) or (path.endswith("/metrics.py") and name == "__init__")


def size_problems(path: str, source: str) -> Iterator[str]:
    """One line per file or function that is too long. Decorators, such as the values of parameters, do not count."""
    if (lines := len(source.splitlines())) > MAX_FILE:
        yield f"{path}: {lines} lines, more than {MAX_FILE}: split it by subject"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_exempt(path, node.name):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines, more than {MAX_FUNCTION}"


def test_no_file_and_no_function_is_too_long() -> None:
    files = python_files()
    assert {path.split("/")[0] for path in files} >= {"benchmarks", "libs", "release", "services", "tests", "tools"}
    problems = [each for path in files for each in size_problems(path, (ROOT / path).read_text(encoding="utf-8"))]
    assert problems == []


def a_function(lines: int, *, name: str = "long", before: str = "") -> str:
    """A function of so many lines, with the text `before` in front of it."""
    return f"{before}def {name}():\n" + "    pass\n" * (lines - 1)


def test_a_file_that_is_too_long_is_found() -> None:
    assert list(size_problems("a.py", "x = 1\n" * MAX_FILE)) == []
    assert list(size_problems("a.py", "x = 1\n" * (MAX_FILE + 1))) == [
        "a.py: 351 lines, more than 350: split it by subject"
    ]


def test_a_function_that_is_too_long_is_found_also_inside_a_class() -> None:
    too_long = a_function(MAX_FUNCTION + 1)
    inside = "class A:\n" + "".join(f"    {line}\n" for line in too_long.splitlines())
    assert list(size_problems("a.py", a_function(MAX_FUNCTION))) == []
    assert list(size_problems("a.py", too_long)) == ["a.py:1: long has 61 lines, more than 60"]
    assert list(size_problems("a.py", f"async {too_long}")) == ["a.py:1: long has 61 lines, more than 60"]
    assert list(size_problems("a.py", inside)) == ["a.py:2: long has 61 lines, more than 60"]
    decorated = a_function(MAX_FUNCTION, before="@parametrize(\n    1,\n)\n")
    assert list(size_problems("a.py", decorated)) == []


def test_declarations_of_metrics_and_migrations_may_be_long() -> None:
    metrics, upgrade = a_function(200, name="__init__"), a_function(200, name="upgrade")
    assert list(size_problems("services/one/src/one/metrics.py", metrics)) == []
    assert list(size_problems(f"{MIGRATIONS}0001_first.py", upgrade)) == []
    assert list(size_problems("services/one/src/one/metrics.py", upgrade)) != []
    assert list(size_problems("services/one/src/one/app.py", metrics)) != []
