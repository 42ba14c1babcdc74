"""TCP ports of this machine: finds free ports, and the process that uses a port."""

import contextlib
import fcntl
import os
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from local_stack.errors import StackError
from local_stack.processes import command_line

LOOPBACK = "127.0.0.1"
LISTEN = "0A"  # the state column of /proc/net/tcp


_CHOICE = range(21_000, 29_000)
"""Below the ports that the system gives to outgoing connections, which could take the port of a service during its
restart. Between the default ports of the demo.
"""
_given: dict[int, int] = {}
"""The ports that this process has reserved, with the file descriptors that hold their locks."""


def free_port() -> int:
    """Reserve a port that is free now and that no process has reserved that still runs. A foreign program may take it
    first, so the caller must be able to try again. Raises `StackError` if there is none.
    """
    for port in random.sample(_CHOICE, len(_CHOICE)):
        if reserve({port}):
            return port
    raise StackError(f"no port from {_CHOICE.start} to {_CHOICE.stop - 1} is free")


def reserve(wanted: Collection[int]) -> bool:
    """Reserve all these ports for this process. Returns False, and reserves none, if a port is in use or reserved."""
    locks: dict[int, int] = {}
    for port in wanted:
        if port in _given or not is_free(port) or (lock := _lock(port)) is None:
            for held in locks.values():
                os.close(held)
            return False
        locks[port] = lock
    _given.update(locks)
    return True


def _lock(port: int) -> int | None:
    """The descriptor of the locked file of a port. None if another process has it. The lock ends with this process."""
    folder = Path(tempfile.gettempdir()) / f"candlekeep-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / str(port), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Like servers do: a port with connections in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def require_free(wanted: Mapping[str, int], advice: str, *, is_free: Callable[[int], bool] = is_free) -> None:
    """Raise StackError that names every taken port, its purpose and the process that uses it."""
    taken = [f"port {port} ({name}) is in use by {holder(port)}" for name, port in wanted.items() if not is_free(port)]
    if taken:
        raise StackError(f"{'; '.join(taken)}; {advice}")


def holder(port: int) -> str:
    """`pid 123 python -m http.server`, or `another process` if it belongs to another user."""
    pid = _holding_pid(port)
    if pid is None:
        return "another process"
    words = (command_line(pid) or "?").split()
    return f"pid {pid} {' '.join([Path(words[0]).name, *words[1:4]])}"


def _holding_pid(port: int) -> int | None:
    inodes = _listening_inodes(port)
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(descriptor.readlink().name in inodes for descriptor in (folder / "fd").iterdir()):
                return int(folder.name)
    if not inodes and shutil.which("lsof"):
        command = ["lsof", "-nP", "-t", f"-iTCP:{port}", "-sTCP:LISTEN"]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
        return int(found[0]) if found else None
    return None


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{columns[9]}]")
    return inodes
