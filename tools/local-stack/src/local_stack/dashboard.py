"""Builds the dashboard if it has changed, with this machine's Node or with the one of a Python wheel."""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
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
        environment = await _installed(report, folder)
        report("dashboard: checking and building it (npm run build, about ten seconds)")
        output = await _run(("npm", "run", "--silent", "build"), folder, environment)
        (folder / _STAMP).write_text(digest)
        report(f"dashboard: built in {folder.name}/{BUILT}. {_size_line(output)}")
        return True


async def generate_client(report: Callable[[str], None], folder: Path = FOLDER) -> None:
    """Write the types of the API from its OpenAPI description. Raises `StackError`."""
    folder = folder.resolve()
    with _one_at_a_time(folder):
        await _run(("npm", "run", "--silent", "generate"), folder, await _installed(report, folder))


async def check_sources(report: Callable[[str], None], folder: Path = FOLDER) -> None:
    """Style, types, and whether the client is the one of the API. Raises `StackError` with what is wrong."""
    folder = folder.resolve()
    with _one_at_a_time(folder):
        environment = await _installed(report, folder)
        for script in ("lint", "types", "check-client"):
            await _run(("npm", "run", "--silent", script), folder, environment)


async def _installed(report: Callable[[str], None], folder: Path) -> Mapping[str, str]:
    """Installs the locked packages if they have changed. Returns the environment for `npm`."""
    environment = await _node_environment(report, folder)
    packages = digest_of(folder, [folder / "package-lock.json"])
    if _text(folder / _INSTALLED) != packages:
        report("dashboard: installing its packages (npm ci, about half a minute the first time)")
        await _run(("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"), folder, environment)
        (folder / _INSTALLED).write_text(packages)
    return environment


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


async def _node_environment(report: Callable[[str], None], folder: Path) -> Mapping[str, str]:
    """The environment in which `npm` and a Node that is new enough are found first."""
    if await _node_is_supported(os.environ):
        return os.environ
    scripts = Path(sys.executable).parent
    with_wheel = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"}
    if not (scripts / "npm").exists():
        report(f"dashboard: this machine has no Node {_SUPPORTED_NODE}: installing one from a Python wheel (60 MB)")
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
        await _run((*pip, "-r", str(folder / _NODE_WHEEL)), folder, os.environ)
    return with_wheel


async def _node_is_supported(environment: Mapping[str, str]) -> bool:
    path = environment.get("PATH")
    if shutil.which("node", path=path) is None or shutil.which("npm", path=path) is None:
        return False
    return is_supported(version_of(await _run(("node", "--version"), Path.cwd(), environment)))


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
