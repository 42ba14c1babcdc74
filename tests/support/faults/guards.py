"""Removes one guard at a time in a copy of the repository, and checks that its fault test then fails.

    python -m support.faults.guards [NAME ...]

A guard is a TOML file in `tests/faults/guards` with the fields of `Guard`. It names the package and the definition that
it edits, not the file and the line. So it still applies after the code has moved to another module of the package.
`make faults` shows that the same tests pass while the guards are present.
"""

import argparse
import ast
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from local_stack.processes import open_log

REPOSITORY = Path(__file__).parents[3]
GUARDS = REPOSITORY / "tests" / "faults" / "guards"
_LIMIT_SECONDS = 500.0
_TESTS_FAILED = 1
"""Pytest's exit code for failed tests. Other codes mean that pytest could not run them."""
_PACKAGES = (
    *("contracts", "runtime", "store"),
    *("admin_api", "scheduler", "collector", "log_writer", "candle_writer", "backfiller"),
)


class Edit(BaseModel):
    """Replaces `find`, which occurs once in the definition, by `replace`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: str
    definition: str
    """A function, class, method or assignment of any module of the package: `Class.method`, or a name."""
    find: str
    replace: str


class Guard(BaseModel):
    """One guard: how to remove it, and the test that must then fail."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    guard: str
    """The guarantee of this guard, in words."""
    test: str
    """The pytest id of the test that must fail without the guard."""
    fails_with: str
    """A regular expression that pytest's reason for the failure must match."""
    edits: tuple[Edit, ...]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the test noticed that the guard was missing, and why."""

    noticed: bool
    why: str


class BadGuard(Exception):  # noqa: N818 -- the name describes the file
    """The file of a guard is invalid, or no longer fits the code."""


def read_guard(file: Path) -> Guard:
    """Read a guard's file. Raises `BadGuard` if it is invalid."""
    try:
        return Guard.model_validate({"name": file.stem} | tomllib.loads(file.read_text()))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise BadGuard(f"{file.name}: {error}") from error


def edit_files(guard: Guard, repository: Path) -> dict[Path, str]:
    """Return the new text of each edited file, by path. Raises `BadGuard` unless each edit applies exactly once."""
    texts: dict[Path, str] = {}
    for edit in guard.edits:
        places = []
        for file in sorted(repository.glob(f"*/*/src/{edit.package}/**/*.py")):
            text = texts.get(file) or file.read_text()
            for begin, end in _definitions(text, edit.definition):
                places += [(file, text, begin + at) for at in _all_in(text[begin:end], edit.find)]
        if len(places) != 1:
            where = f"`{edit.definition}` of the package {edit.package}"
            raise BadGuard(f"{guard.name}: {where} must contain this text once, not {len(places)} times: {edit.find}")
        ((file, text, at),) = places
        texts[file] = text[:at] + edit.replace + text[at + len(edit.find) :]
    return texts


def _definitions(text: str, qualified_name: str) -> Iterator[tuple[int, int]]:
    """The first and last character of each definition of this name in the text."""
    if qualified_name.rpartition(".")[2] not in text:
        return
    begins = [0, *(newline.end() for newline in re.finditer("\n", text)), len(text)]
    nodes: list[ast.stmt] = list(ast.parse(text).body)
    *outer, name = qualified_name.split(".")
    for each in outer:
        nodes = [child for node in nodes if isinstance(node, ast.ClassDef) and node.name == each for child in node.body]
    for node in nodes:
        if name in _names(node) and node.end_lineno is not None:
            yield begins[node.lineno - 1], begins[node.end_lineno]


def _names(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return [name]
        case _:
            return []


def _all_in(text: str, snippet: str) -> list[int]:
    return [found.start() for found in re.finditer(re.escape(snippet), text)]


@contextmanager
def copy_repository(repository: Path) -> Iterator[Path]:
    """A temporary copy of the working tree: all files that git tracks or would add. Downloads are shared."""
    folder = Path(tempfile.mkdtemp(prefix="candlekeep-guard-"))
    try:
        folder.chmod(0o755)  # Postgres may run as another user
        listed = _run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], repository).stdout
        for name in filter(None, listed.split("\0")):
            if (repository / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(repository / name, folder / name)
        (folder / ".cache").symlink_to(repository / ".cache")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def environment_of(copy: Path) -> dict[str, str]:
    """Environment variables with which Python imports the copy's code instead of the installed code."""
    sources = sorted(str(path) for path in copy.glob("*/*/src"))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*sources, str(copy / "tests")])}


def remove_guard(guard: Guard, copy: Path) -> None:
    """Edit the copy. Raises `BadGuard` if the guard does not fit, or if Python would not import the copy."""
    for file, text in edit_files(guard, copy).items():
        file.write_text(text)
    where = "; ".join(f"import {name}; print({name}.__file__)" for name in _PACKAGES)
    files = _run([sys.executable, "-c", where], copy, environment_of(copy)).stdout.split()
    if len(files) != len(_PACKAGES) or not all(Path(file).is_relative_to(copy) for file in files):
        raise BadGuard(f"Python would not import the copy in {copy}, but: {files}")


def judge(guard: Guard, exit_code: int | None, output: str) -> Verdict:
    if exit_code is None:
        return Verdict(noticed=False, why=f"the test did not end within {_LIMIT_SECONDS:.0f} s")
    if exit_code != _TESTS_FAILED:
        return Verdict(
            noticed=False, why="the test passed" if exit_code == 0 else f"pytest ended with exit code {exit_code}"
        )
    reasons = "\n".join(line for line in output.splitlines() if line.startswith("E  "))
    match = re.search(guard.fails_with, reasons)
    if match is None:
        return Verdict(noticed=False, why=f"the test failed for another reason: {reasons[-200:]}")
    return Verdict(noticed=True, why=match.group(0))


async def check(guard: Guard, log: Path) -> Verdict:
    with copy_repository(REPOSITORY) as copy:
        remove_guard(guard, copy)
        arguments = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", guard.test]
        log.unlink(missing_ok=True)
        with open_log(log) as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, cwd=copy, env=environment_of(copy), stdout=output, stderr=output
            )
            try:
                async with asyncio.timeout(_LIMIT_SECONDS):
                    code: int | None = await process.wait()
            except TimeoutError:
                process.terminate()
                await process.wait()
                code = None
    return judge(guard, code, log.read_text(errors="replace"))


def _run(
    argv: Sequence[str], folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=folder, env=environment, check=False, capture_output=True, text=True)


async def main() -> int:
    parser = argparse.ArgumentParser(
        prog="guards", description="Checks that a fault test fails when a guard is removed."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="guards to check; all by default")
    parser.add_argument("--logs", type=Path, default=Path(tempfile.gettempdir()), help="folder for pytest's output")
    arguments = parser.parse_args()
    guards = [read_guard(file) for file in sorted(GUARDS.glob("*.toml"))]
    if unknown := set(arguments.names) - {guard.name for guard in guards}:
        parser.error(f"unknown guard: {', '.join(sorted(unknown))}; known guards: {', '.join(g.name for g in guards)}")
    unnoticed = 0
    for guard in guards:
        if arguments.names and guard.name not in arguments.names:
            continue
        started, log = time.monotonic(), arguments.logs / f"guard-{guard.name}.log"
        verdict = await check(guard, log)
        unnoticed += not verdict.noticed
        word = "noticed" if verdict.noticed else "NOT NOTICED"
        print(f"{guard.name}: {word} after {time.monotonic() - started:.0f} s: {verdict.why} ({log})", flush=True)
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
