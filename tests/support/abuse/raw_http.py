"""HTTP over plain sockets: requests that no HTTP client would send, and responses that are not read."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from support.abuse.attack import API_PATH, Counts, Target

_SMALL_BUFFER = 4096
_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: `close` sends RST."""


@contextlib.contextmanager
def sockets(count: int, *, small_buffer: bool = False) -> Iterator[list[socket.socket]]:
    """Unconnected sockets. At the end their connections are reset."""
    opened = [socket.socket() for _ in range(count)]
    try:
        for each in opened:
            each.setblocking(False)
            if small_buffer:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        yield opened
    finally:
        for each in opened:
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            each.close()


async def send(target: Target, connection: socket.socket, data: bytes) -> None:
    """Connect and send. Raises OSError."""
    url = urlsplit(target.api_url)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, (url.hostname, url.port))
    await loop.sock_sendall(connection, data)


async def status_of(connection: socket.socket, within: float = 30.0) -> str:
    """The status code of the response; the rest of it stays unread. `closed` or `no answer` if there is none."""
    received = b""
    try:
        async with asyncio.timeout(within):
            while len(received) < len(b"HTTP/1.1 200"):
                part = await asyncio.get_running_loop().sock_recv(connection, 12 - len(received))
                if not part:
                    return "closed"
                received += part
    except TimeoutError:
        return "no answer"
    except OSError:
        return "closed"
    return received[9:12].decode(errors="replace")


async def is_closed(connection: socket.socket, within: float) -> bool:
    """Whether the server closes the connection in time. Reads and drops what it sends."""
    try:
        async with asyncio.timeout(within):
            while await asyncio.get_running_loop().sock_recv(connection, 65_536):
                pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def head(
    method: str, path: str, token: str | None = None, headers: Sequence[bytes] = (), host: bytes = b"api"
) -> bytes:
    """The request line and the headers, with the empty line at the end."""
    lines = [f"{method} {API_PATH}{path} HTTP/1.1".encode(), b"Host: " + host, *headers]
    if token is not None:
        lines.append(b"Authorization: Bearer " + token.encode())
    return b"\r\n".join([*lines, b"", b""])


async def exchange(target: Target, counts: Counts, data: bytes) -> None:
    """Send one raw request and count its status, and whether the connection is closed after it."""
    counts.sent += 1
    with sockets(1) as (connection,):
        try:
            await send(target, connection, data)
        except OSError:
            counts.answers["closed"] += 1
            return
        status = await status_of(connection)
        closed = status in {"closed", "no answer"} or await is_closed(connection, within=3)
        counts.answers[status if closed else f"{status}, then open"] += 1
