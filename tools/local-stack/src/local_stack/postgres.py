"""Runs a Postgres with UTF-8 and the C locale on one loopback port, as an unprivileged user."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from local_stack.errors import StackError
from local_stack.ports import LOOPBACK, free_port
from local_stack.postgres_binaries import (
    PostgresBinaries,
    can_enter,
    data_version_of,
    find_binaries,
    reachable_binaries,
    unprivileged_user,
)
from local_stack.processes import Child, Command, run_to_end

START_SECONDS = 30.0
PORT_ATTEMPTS = 3
SUPERUSER = "candlekeep"
DATABASE = "candlekeep"
KILLED_SECONDS = 10.0
STATUS_LINE = 7  # of postmaster.pid, counted from 0


@dataclass(frozen=True)
class ExistingPostgres:
    """An existing database, named by DATABASE_URL. The stack does not start or stop it."""

    url: str
    child: None = None
    fresh: bool = False
    description: str = "the Postgres of DATABASE_URL"

    async def stop(self) -> None:
        return


@dataclass(frozen=True, kw_only=True)
class PostgresPlace:
    """The folders for data, logs and pid file of a Postgres. `port=None`: a free port. `password=None`: no password
    on loopback, for tests. `durable=False`: a power failure may destroy the data, also for tests. `settings`: further
    ones of the server.
    """

    data: Path
    logs: Path
    run: Path
    port: int | None = None
    password: str | None = None
    durable: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)


class Postgres:
    """A running server. `fresh`: this start created its data folder."""

    def __init__(
        self, child: Child, binaries: PostgresBinaries, port: int, password: str | None, *, fresh: bool
    ) -> None:
        self.child = child
        self.port = port
        self.fresh = fresh
        self.description = f"Postgres {binaries.version} ({binaries.origin})"
        login = f"{SUPERUSER}:{password}" if password else SUPERUSER
        self.server_url = f"postgresql://{login}@{LOOPBACK}:{port}"
        self.url = f"{self.server_url}/{DATABASE}"

    @classmethod
    async def start(cls, place: PostgresPlace, report: Callable[[str], None]) -> Self:
        user = await asyncio.to_thread(unprivileged_user)
        data = await asyncio.to_thread(reachable_data, place.data, user, report)
        binaries = await asyncio.to_thread(lambda: reachable_binaries(find_binaries(data), user))
        server = _Server(place, data, binaries, user)
        if fresh := data_version_of(data) is None:
            await server.initialise()
        for attempt in range(PORT_ATTEMPTS):
            port = place.port or free_port()
            try:
                child = await server.start(port)
            except PortTaken:
                if place.port or attempt == PORT_ATTEMPTS - 1:
                    raise
                continue
            started = cls(child, binaries, port, place.password, fresh=fresh)
            await ensure_database(started.server_url, DATABASE)
            return started
        raise AssertionError  # the loop returns or raises

    async def stop(self) -> None:
        await self.child.stop()


class PortTaken(StackError):  # noqa: N818 -- the name describes a state
    pass


class _Server:
    def __init__(self, place: PostgresPlace, data: Path, binaries: PostgresBinaries, user: str | None) -> None:
        self._place, self._data, self._binaries, self._user = place, data, binaries, user

    async def initialise(self) -> None:
        """Create the database in a temporary folder and rename it, so that an interrupted initdb is not used."""
        parent, place = self._data.parent, self._place
        for unfinished in parent.glob(f"{self._data.name}.new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=f"{self._data.name}.new-", dir=parent))
        with tempfile.NamedTemporaryFile("w") as secret:
            secret.write(place.password or "")
            secret.flush()
            if self._user:
                shutil.chown(partial, self._user)
                shutil.chown(secret.name, self._user)
            trust = ("--auth=trust",) if place.password is None else ("--auth=scram-sha-256", f"--pwfile={secret.name}")
            argv = (str(self._binaries.folder / "initdb"), "-D", str(partial), "-U", SUPERUSER, *trust)
            options = ("--encoding=UTF8", "--locale=C", *(() if place.durable else ("--no-sync",)))
            child = await run_to_end(
                self._command("initdb", (*argv, *options)),
                log_file=place.logs / "postgres-initdb.log",
                pid_file=place.run / "postgres-initdb.pid",
            )
        if child.exit_code != 0:
            shutil.rmtree(partial, ignore_errors=True)
            raise StackError(f"initdb failed: {' '.join(child.last_lines(2))} (log: {child.log_file})")
        if self._data.exists():
            self._data.rmdir()  # this fails unless the folder is empty
        partial.rename(self._data)

    async def start(self, port: int) -> Child:
        settings: dict[str, object] = {
            "listen_addresses": LOOPBACK,
            "port": port,
            "unix_socket_directories": "",
            "max_connections": 200,
        }
        if not self._place.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        settings |= self._place.settings
        argv = [str(self._binaries.folder / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        log_file = self._place.logs / "postgres.log"
        log_file.unlink(missing_ok=True)
        await remove_stale_pid_file(self._data)
        child = await Child.start(
            self._command("Postgres", tuple(argv)), log_file=log_file, pid_file=self._place.run / "postgres.pid"
        )
        await self._wait_until_ready(child)
        return child

    def _command(self, name: str, argv: tuple[str, ...]) -> Command:
        # After SIGINT, Postgres disconnects its clients and stops cleanly. After SIGTERM, it would wait for them.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")} | {"LC_ALL": "C"}
        return Command(name=name, argv=argv, env=environment, cwd=Path("/"), user=self._user, stop_signal=signal.SIGINT)

    async def _wait_until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + START_SECONDS
        try:
            while not accepts_connections(self._data, child):
                if child.exit_code is not None:
                    raise _explain(child, self._data)
                if time.monotonic() > deadline:
                    raise StackError(f"Postgres did not answer within {START_SECONDS:.0f} s (log: {child.log_file})")
                await asyncio.sleep(0.02)
        except BaseException:
            await child.stop()
            raise


async def remove_stale_pid_file(data: Path) -> None:
    """Wait for the last processes of a server that was killed, then remove its pid file. Postgres refuses to start if
    the process is dead and not yet reaped, or if another process has its pid.
    """
    if not Path("/proc/self/cwd").exists():
        return
    deadline, folder = time.monotonic() + KILLED_SECONDS, data.resolve()
    while _is_in_use(folder):
        if time.monotonic() > deadline:
            return  # a running server: the start will report it
        await asyncio.sleep(0.05)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _is_in_use(data: Path) -> bool:
    """Whether a process has this working directory, as all processes of Postgres do. A zombie has none."""
    for cwd in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if cwd.readlink() == data:
                return True
    return False


def _explain(child: Child, data: Path) -> StackError:
    lines = child.last_lines(100)
    if any("Address already in use" in line for line in lines):
        return PortTaken(f"Postgres's port was taken while it started (log: {child.log_file})")
    reason = next((line for line in lines if "FATAL" in line or "PANIC" in line), " ".join(lines[-1:]))
    return StackError(f"Postgres stopped while starting on {data}: {reason.strip()} (log: {child.log_file})")


def accepts_connections(data: Path, child: Child) -> bool:
    """Like `pg_ctl`: whether the server's pid file says "ready". A connection could reach another server."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) > STATUS_LINE and int(lines[0]) == child.pid and lines[STATUS_LINE].strip() == "ready"


async def ensure_database(server_url: str, name: str) -> None:
    import asyncpg  # noqa: PLC0415 -- its import takes 0.1 s and would delay the start of Kafka

    connection = await asyncpg.connect(f"{server_url}/postgres")
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()


def reachable_data(wanted: Path, user: str | None, report: Callable[[str], None]) -> Path:
    """The data folder itself. If the unprivileged user cannot enter it (a checkout under /root): a folder in the
    temporary folder of the system, whose path is stored in a file beside the original folder.
    """
    wanted.parent.mkdir(parents=True, exist_ok=True)
    if can_enter(wanted.parent, user):
        return wanted
    pointer = wanted.with_name(f"{wanted.name}.location")
    if pointer.exists() and can_enter(Path(pointer.read_text()), user):
        return Path(pointer.read_text()) / "data"
    private = Path(tempfile.mkdtemp(prefix="candlekeep-postgres-"))
    private.chmod(0o711)
    pointer.write_text(str(private))
    report(f"Postgres runs as {user} and cannot enter {wanted.parent}: its data is in {private} (stored in {pointer})")
    return private / "data"


async def start_postgres(
    place: PostgresPlace, report: Callable[[str], None], environment: Mapping[str, str] = os.environ
) -> Postgres | ExistingPostgres:
    if url := environment.get("DATABASE_URL"):
        return ExistingPostgres(url)
    return await Postgres.start(place, report)
