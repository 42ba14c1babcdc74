"""Checks whether a process is ready, without importing a client library."""

import asyncio
import contextlib
import time

from local_stack.errors import StackError
from local_stack.keep_alive import BAD_SETTINGS, ServiceProcess, SupervisedProcess
from local_stack.plan import Service
from local_stack.ports import LOOPBACK

REQUEST_SECONDS = 3.0
READY_SECONDS = 90.0
STARTING_FAILURES = 3
OK = b"200"


async def is_ready(port: int, path: str | None) -> bool:
    """Whether `GET path` returns 200. Without a path: whether the port accepts connections."""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                if path is None:
                    return True
                request = f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                status = await reader.readline()
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, EOFError, TimeoutError):
        return False
    return status.split()[1:2] == [OK]


async def wait_until_ready(service: Service, kept: SupervisedProcess[ServiceProcess]) -> None:
    """Wait until a service is ready. Raises StackError with its last log line if it fails or takes too long."""
    deadline = time.monotonic() + READY_SECONDS
    while not await is_ready(service.port, service.role.ready_path):
        child = kept.running.child
        has_failed = child.exit_code == BAD_SETTINGS or kept.failures >= STARTING_FAILURES
        if has_failed or time.monotonic() > deadline:
            reason = " ".join(kept.last_lines[-1:] or child.last_lines(1)) or "it logged nothing"
            raise StackError(f"{service.name} did not become ready: {reason} (log: {child.log_file})")
        await asyncio.sleep(0.1)
