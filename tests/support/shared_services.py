"""One Kafka and one Postgres per pytest run, shared by its xdist workers and always stopped at the end.

The controller creates a folder and puts its path into the environment. The first worker that needs a service starts a
keeper for it (`support.kept_services`), which runs it in a container or natively. The keeper ends with the controller
and not with the worker.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import asyncpg

from local_stack.database_logins import NAMES, DatabaseLogins
from local_stack.keeper import KeptKafka, KeptPostgres, Service
from local_stack.processes import open_log
from store.migrate import upgrade
from store.role_setup import set_up_roles
from store.roles import role_name

RUN_FOLDER = "CANDLEKEEP_TEST_RUN"
START_SECONDS = 170.0  # at the first start, Maven fills its cache
STOP_SECONDS = 30.0
ENOUGH_MEMORY = 4 * 1024**3

_TESTS = str(Path(__file__).parents[1])

_KEEPERS: list[subprocess.Popen[bytes]] = []
"""The keepers that this process started. They run until the controller ends.

The list keeps their handles, because Python warns if a handle is dropped before its process has ended.
"""


class ServiceUnavailable(Exception):  # noqa: N818 -- the name states the problem
    pass


class SharedServices:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_this_run(cls) -> "SharedServices":
        return cls(Path(os.environ[RUN_FOLDER]))

    @classmethod
    def create(cls) -> "SharedServices":
        """Called once, by the controller."""
        folder = Path(tempfile.mkdtemp(prefix="candlekeep-test-", dir=_fast_folder()))
        folder.chmod(0o711)  # Postgres runs as an unprivileged user and has its data in this folder
        (folder / "controller.pid").write_text(str(os.getpid()))
        os.environ[RUN_FOLDER] = str(folder)
        return cls(folder)

    def kafka(self) -> KeptKafka:
        return KeptKafka(**self._start("kafka"))

    def postgres(self) -> KeptPostgres:
        return KeptPostgres(**self._start("postgres"))

    def descriptions(self) -> dict[str, str]:
        """Of the services that were used."""
        announced = {name: self._announced(name) for name in get_args(Service)}
        return {name: found["description"] for name, found in announced.items() if found}

    def template_database(self) -> str:
        """The name of a migrated database to clone. A clone takes 50 ms per test, a migration much longer."""
        name = f"template_{self.folder.name.rpartition('-')[2].lower()}"
        with self._locked("template"):
            done = self.folder / "template.done"
            if not done.exists():
                logins = _new_logins(name)
                asyncio.run(_make_template(self.postgres().url, name, logins))
                (self.folder / "logins.json").write_text(json.dumps(asdict(logins)))
                done.touch()
        return name

    def database_logins(self) -> DatabaseLogins:
        """The logins of the services, for the template database and its clones."""
        self.template_database()
        return DatabaseLogins(**json.loads((self.folder / "logins.json").read_text()))

    def stop(self) -> None:
        """Called once, by the controller."""
        if (self.folder / "template.done").exists() and os.environ.get("DATABASE_URL"):
            asyncio.run(drop_database(self.postgres().url, self.template_database()))
            asyncio.run(_drop_roles(self.postgres().url, self.database_logins()))
        pids = [int(file.read_text()) for file in self.folder.glob("*.keeper")]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, service: Service) -> dict[str, Any]:
        with self._locked(service):
            if announced := self._announced(service):
                return announced
            keeper = self.folder / f"{service}.keeper"
            if not keeper.exists():
                _KEEPERS.append(self._start_keeper(service))
                keeper.write_text(str(_KEEPERS[-1].pid))
            return self._wait_for(service)

    def _start_keeper(self, service: Service) -> subprocess.Popen[bytes]:
        (self.folder / "logs").mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [_TESTS, os.environ.get("PYTHONPATH")])),
        }
        if environment.get("CANDLEKEEP_REQUIRE_REAL_KAFKA") == "1":
            environment["CANDLEKEEP_KAFKA"] = "real"
        controller = (self.folder / "controller.pid").read_text()
        argv = [sys.executable, "-m", "support.kept_services", service, "--folder", str(self.folder)]
        with open_log(self.folder / "logs" / f"{service}-keeper.log") as log:
            return subprocess.Popen(
                [*argv, "--while-pid", controller],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait_for(self, service: Service) -> dict[str, Any]:
        pid = int((self.folder / f"{service}.keeper").read_text())
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if announced := self._announced(service):
                return announced
            if not _alive(pid):
                break
            time.sleep(0.02)
        error, log = self.folder / f"{service}.error", self.folder / "logs" / f"{service}-keeper.log"
        raise ServiceUnavailable(error.read_text() if error.exists() else f"{service}: {log.read_text()[-2000:]}")

    def _announced(self, service: Service) -> dict[str, Any] | None:
        try:
            announced: dict[str, Any] = json.loads((self.folder / f"{service}.json").read_text())
        except FileNotFoundError:
            return None
        return announced

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed, also if this process dies
            yield


def _fast_folder() -> Path | None:
    """A folder in memory if there is enough memory, otherwise None for the default temporary folder.

    When Kafka deletes a topic, it syncs one folder per partition. On a disk, tests would mostly wait for this.
    """
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    return memory if usable and shutil.disk_usage(memory).free > ENOUGH_MEMORY else None


def _alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # otherwise a child of this process would stay a zombie
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _new_logins(template: str) -> DatabaseLogins:
    """Roles belong to the whole server, so each run has its own."""
    return DatabaseLogins(prefix=template, passwords={each: secrets.token_urlsafe(24) for each in NAMES})


async def _make_template(url: str, name: str, logins: DatabaseLogins) -> None:
    await create_database(url, name)
    template = database_at(url, name)
    await set_up_roles(template, logins.prefix, logins.passwords)
    await upgrade(template, role_prefix=logins.prefix)


async def _drop_roles(url: str, logins: DatabaseLogins) -> None:
    connection = await asyncpg.connect(url)
    try:
        for name in (*NAMES, "owner"):
            with contextlib.suppress(asyncpg.DependentObjectsStillExistError):
                await connection.execute(f"DROP ROLE IF EXISTS {role_name(logins.prefix, name)}")
    finally:
        await connection.close()


def database_at(url: str, name: str) -> str:
    """The URL of another database on the same server."""
    base, _, query = url.partition("?")
    return f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


async def create_database(url: str, name: str, template: str | None = None) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
    finally:
        await connection.close()


async def drop_database(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()
