"""Takes away one guard at a time, in a copy of the repository, and sees whether the fault test that is there for it
notices.

    python -m support.faults.guards [NAME ...]

A guard is a patch in `tests/faults/guards`. Above its diff it says in a line each what it takes away (`Guard:`), which
test must fail (`Test:`), and a regular expression for the reason that pytest gives (`Sees:`). That the same tests pass
as long as the guards are there is what `make faults` shows.
"""

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
GUARDS = REPOSITORY / "tests" / "faults" / "guards"
_LIMIT_SECONDS = 500.0
_TESTS_FAILED = 1
"""Pytest's exit code. Others say that they could not be run."""
_PACKAGES = ("contracts", "runtime", "store", "admin_api", "scheduler", "collector", "log_writer", "candle_writer")


@dataclass(frozen=True, kw_only=True)
class Guard:
    name: str
    patch: Path
    guard: str
    test: str
    sees: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    noticed: bool
    why: str


class BadPatch(Exception):  # noqa: N818 -- it names what was found
    """A guard's patch does not say what it should, or does not fit the code any more."""


def read_guard(patch: Path) -> Guard:
    """Raises `BadPatch`."""
    head = patch.read_text().partition("\n--- ")[0]
    said = {name: text.strip() for name, text in re.findall(r"^(Guard|Test|Sees): (.+)$", head, re.MULTILINE)}
    if missing := {"Guard", "Test", "Sees"} - said.keys():
        raise BadPatch(f"{patch.name} does not say {', '.join(sorted(missing))}")
    return Guard(name=patch.stem, patch=patch, guard=said["Guard"], test=said["Test"], sees=said["Sees"])


@contextmanager
def copied(repository: Path) -> Iterator[Path]:
    """What git knows of or would add, as it is in the working tree; downloads are shared."""
    folder = Path(tempfile.mkdtemp(prefix="candlekeep-guard-"))
    try:
        folder.chmod(0o755)  # Postgres may run as somebody else
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
    """In which the copy's code is imported, and not the installed one."""
    sources = sorted(str(path) for path in copy.glob("*/*/src"))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*sources, str(copy / "tests")])}


def take_away(guard: Guard, copy: Path) -> None:
    """Raises `BadPatch` where the patch does not fit, or something else than the copy would be tested."""
    applied = _run(["git", "apply", "--recount", str(guard.patch)], copy)
    if applied.returncode:
        raise BadPatch(f"{guard.patch.name} does not fit any more: {applied.stderr.strip()}")
    where = "; ".join(f"import {name}; print({name}.__file__)" for name in _PACKAGES)
    files = _run([sys.executable, "-c", where], copy, environment_of(copy)).stdout.split()
    if len(files) != len(_PACKAGES) or not all(Path(file).is_relative_to(copy) for file in files):
        raise BadPatch(f"the copy in {copy} is not what would be imported: {files}")


def judge(guard: Guard, exit_code: int | None, output: str) -> Verdict:
    if exit_code is None:
        return Verdict(noticed=False, why=f"not within {_LIMIT_SECONDS:.0f} s")
    if exit_code != _TESTS_FAILED:
        return Verdict(noticed=False, why="the test passed" if exit_code == 0 else f"pytest ended with {exit_code}")
    reasons = "\n".join(line for line in output.splitlines() if line.startswith("E  "))
    seen = re.search(guard.sees, reasons)
    if seen is None:
        return Verdict(noticed=False, why=f"the test failed for another reason: {reasons[-200:]}")
    return Verdict(noticed=True, why=seen.group(0))


async def check(guard: Guard, log: Path) -> Verdict:
    with copied(REPOSITORY) as copy:
        take_away(guard, copy)
        arguments = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", guard.test]
        with log.open("wb") as output:
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
    parser = argparse.ArgumentParser(prog="guards", description="Does a fault test notice when a guard is gone?")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these; all by default")
    parser.add_argument("--logs", type=Path, default=Path(tempfile.gettempdir()), help="where pytest's output goes")
    arguments = parser.parse_args()
    guards = [read_guard(patch) for patch in sorted(GUARDS.glob("*.patch"))]
    if unknown := set(arguments.names) - {guard.name for guard in guards}:
        parser.error(f"no such guard: {', '.join(sorted(unknown))}; there are {', '.join(g.name for g in guards)}")
    unnoticed = 0
    for guard in guards:
        if arguments.names and guard.name not in arguments.names:
            continue
        began, log = time.monotonic(), arguments.logs / f"guard-{guard.name}.log"
        verdict = await check(guard, log)
        unnoticed += not verdict.noticed
        word = "noticed" if verdict.noticed else "NOT NOTICED"
        print(f"{guard.name}: {word} after {time.monotonic() - began:.0f} s: {verdict.why} ({log})", flush=True)
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
