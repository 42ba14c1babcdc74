"""Child processes with a session, a log file and a pid file, which are stopped by a signal and then by a kill."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

from local_stack.errors import StackError

_OWNER = "CANDLEKEEP_RUN_FOLDER"
"""A variable in the environment of every child, which names the stack."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command to run. `env` is the whole environment. `user` runs it if the current user is root."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    cwd: Path | None = None
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 10.0


class Child:
    """A running command. It has its own session, so that Ctrl-C in the terminal reaches only the supervisor."""

    def __init__(self, command: Command, process: asyncio.subprocess.Process, log_file: Path, pid_file: Path) -> None:
        self.command = command
        self.log_file = log_file
        self.started_at = time.monotonic()
        self._process = process
        self._pid_file = pid_file

    @classmethod
    async def start(cls, command: Command, *, log_file: Path, pid_file: Path) -> Self:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        pid_file.parent.mkdir(parents=True, exist_ok=True)
        with open_log(log_file) as log:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command.argv,
                    env=dict(command.env) | {_OWNER: str(pid_file.parent)},
                    cwd=command.cwd,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    **account(command.user),
                )
            except OSError as error:
                raise StackError(f"cannot start {command.name}: {error}") from error
        record_pid(pid_file, process.pid, " ".join(command.argv))
        return cls(command, process, log_file, pid_file)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs. If it is negative: the number of the signal that ended the process."""
        return self._process.returncode

    async def wait(self) -> int:
        code = await self._process.wait()
        self._pid_file.unlink(missing_ok=True)
        return code

    async def stop(self) -> None:
        """Send the stop signal of the command, wait for its grace time, then kill its session."""
        if self.exit_code is None:
            self.signal(self.command.stop_signal)
            try:
                await asyncio.wait_for(self._process.wait(), self.command.grace_seconds)
            except TimeoutError:
                self.kill()
        await self.wait()

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def last_lines(self, count: int = 5) -> list[str]:
        return last_lines(self.log_file, count)


def open_log(file: Path) -> BinaryIO:
    """Open a log file to append to it. Only its owner can read it, also if an earlier release created it."""
    log = open(file, "ab", opener=lambda path, flags: os.open(path, flags, 0o600))  # noqa: SIM115 -- for the caller
    os.fchmod(log.fileno(), 0o600)
    return log


async def run_to_end(command: Command, *, log_file: Path, pid_file: Path) -> Child:
    """Run a command until it ends. A cancellation kills it. The caller must check the exit code."""
    child = await Child.start(command, log_file=log_file, pid_file=pid_file)
    try:
        await child.wait()
    finally:
        if child.exit_code is None:
            child.kill()
    return child


def account(user: str | None) -> dict[str, Any]:
    """The subprocess arguments that drop the rights of root, with its supplementary groups."""
    if user is None or os.geteuid() != 0:
        return {}
    import pwd  # noqa: PLC0415 -- not on Windows, which has no root

    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": ()}


def last_lines(log_file: Path, count: int) -> list[str]:
    with contextlib.suppress(OSError):
        with log_file.open("rb") as log:
            log.seek(max(0, log_file.stat().st_size - 64 * 1024))
            lines = log.read().decode(errors="replace").splitlines()
        return [line for line in lines if line.strip()][-count:]
    return []


def command_line(pid: int) -> str | None:
    """The arguments of a live process, joined by spaces. None if there is no such process."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        if Path("/proc/self").exists():
            return None
        found = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return found.stdout.strip() or None
    return None if state == "Z" else arguments.decode(errors="replace").replace("\0", " ").strip()


def record_pid(pid_file: Path, pid: int, command: str) -> None:
    """Write a pid file. `command` is given, because /proc shows none for a moment after the start."""
    pid_file.write_text(json.dumps({"pid": pid, "command": command}))


def live_pid(pid_file: Path) -> int | None:
    """The recorded process, if it still runs. Pids are reused, so its command line must match, too."""
    try:
        record = json.loads(pid_file.read_text())
        pid, command = int(record["pid"]), record["command"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if command and command_line(pid) == command else None


def _children_without_pid_file(run_folder: Path) -> set[int]:
    """Children of a supervisor that was killed before it wrote their pid files. They are found by their environment.
    Their own children have the same environment; they stop these themselves.
    """
    mark = f"{_OWNER}={run_folder}\0".encode()
    marked = {}
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in environment.read_bytes() + b"\0":
                state = (environment.parent / "stat").read_text().rpartition(")")[2].split()
                marked[int(environment.parent.name)] = int(state[1])
    return {pid for pid, parent in marked.items() if parent not in marked and parent != os.getpid()}


async def stop_leftovers(run_folder: Path, *, grace_seconds: float = 10.0) -> list[str]:
    """Stop processes that a killed supervisor has left running. Returns their names."""
    found = {file: pid for file in sorted(run_folder.glob("*.pid")) if (pid := live_pid(file)) is not None}
    for pid in _children_without_pid_file(run_folder) - set(found.values()):
        file = run_folder / f"process {pid}.pid"
        record_pid(file, pid, command_line(pid) or "")
        found[file] = pid
    for file, pid in found.items():
        with contextlib.suppress(ProcessLookupError):
            # After SIGTERM, Postgres waits for its clients. After SIGINT, it disconnects them and stops cleanly.
            os.kill(pid, signal.SIGINT if file.stem == "postgres" else signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while any(live_pid(file) for file in found) and time.monotonic() < deadline:  # noqa: ASYNC110 -- see below
        await asyncio.sleep(0.05)  # they are not children of this process, so there is no event to wait for
    for file in found:
        if (pid := live_pid(file)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
    for file in run_folder.glob("*.pid"):
        file.unlink(missing_ok=True)
    return [file.stem for file in found]
