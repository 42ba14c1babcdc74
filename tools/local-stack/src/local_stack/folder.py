"""The stack's folder: the paths in it and their access rights."""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local_stack.database_logins import NAMES, READER
from local_stack.errors import StackError
from local_stack.processes import command_line, live_pid, record_pid


@dataclass(frozen=True)
class Folder:
    path: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """Pid files. A later start uses them to find processes of a stack that was killed."""
        return self.path / "run"

    @property
    def kafka_data(self) -> Path:
        return self.path / "data" / "kafka"

    @property
    def postgres_data(self) -> Path:
        return self.path / "data" / "postgres"

    def prepare(self) -> None:
        """Create the folders. Raises StackError if another stack runs in this folder."""
        for folder in (self.logs, self.run, self.kafka_data.parent):
            folder.mkdir(parents=True, exist_ok=True)
        owner = self.run / "stack.pid"
        if (pid := live_pid(owner)) is not None and pid != os.getpid():
            raise StackError(f"the stack in {self.path} is already running (pid {pid}: {command_line(pid)})")
        owner.unlink(missing_ok=True)

    def claim(self) -> None:
        record_pid(self.run / "stack.pid", os.getpid(), command_line(os.getpid()) or "")

    def release(self) -> None:
        """Remove the pid file of this stack, but not that of another stack."""
        if live_pid(self.run / "stack.pid") == os.getpid():
            (self.run / "stack.pid").unlink()

    def postgres_password(self) -> str:
        """The password of the database. It is created once, because the database stores it."""
        file = self.path / "data" / "postgres.password"
        if not file.exists():
            write_secret(file, secrets.token_urlsafe(24))
        return file.read_text().strip()

    def database_passwords(self) -> dict[str, str]:
        """The passwords of the database roles, by the name of the login. Each is created once."""
        file = self.path / "data" / "database-passwords.json"
        known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        if missing := set(NAMES) - known.keys():
            known |= {name: secrets.token_urlsafe(24) for name in missing}
            write_secret(file, json.dumps(known))
        return known

    def publish(self, *, token: str, database_urls: Mapping[str, str], kafka: str) -> None:
        """Write the token and the addresses to files, for people and scripts. `database_url` is for reading only; the
        folder `database_urls` has one file per login.
        """
        write_secret(self.path / "token", f"{token}\n")
        write_secret(self.path / "database_url", f"{database_urls[READER]}\n")
        (self.path / "database_urls").mkdir(mode=0o700, exist_ok=True)
        for name, url in database_urls.items():
            write_secret(self.path / "database_urls" / name, f"{url}\n")
        (self.path / "kafka").write_text(f"{kafka}\n")


def write_secret(file: Path, text: str) -> None:
    """Write a file that only its owner can read, from the first byte on."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as secret:
        secret.write(text)
