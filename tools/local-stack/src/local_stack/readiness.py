"""Whether a process can be used, asked over its port without a client library's import."""

import asyncio
import contextlib

from local_stack.ports import LOOPBACK

WITHIN_SECONDS = 3.0
OK = b"200"


async def is_ready(port: int, path: str | None) -> bool:
    """Whether `GET path` answers 200; without a path, whether the port accepts connections."""
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
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
