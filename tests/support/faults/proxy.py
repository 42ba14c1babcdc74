"""A TCP proxy whose behaviour a test can change while connections are open: delays, lost data, resets."""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["pass", "delay", "black hole", "drop responses", "reset", "trickle"]
_RESET = struct.pack("ii", 1, 0)
_TRICKLE_BYTES = 16


@dataclass
class Proxy:
    """The proxy of one server. Its modes:

    - `pass`: all data passes at once.
    - `delay`: each piece of data waits `seconds`.
    - `black hole`: connections open, but no data passes in either direction until the mode ends.
    - `drop responses`: requests pass, responses are lost. When the mode ends, connections that lost data are reset.
    - `reset`: existing and new connections are reset (RST).
    - `trickle`: 16 bytes pass, then none for `seconds`.
    """

    host: str
    port: int
    listens_on: int = 0
    seconds: float = 0.1
    mode: Mode = "pass"
    connections: int = 0
    """Number of connections accepted so far."""
    dropped_bytes: int = 0
    """Bytes of lost responses so far."""
    requests: deque[bytes] = field(default_factory=lambda: deque(maxlen=1_000))
    """The latest pieces of requests that passed."""
    _incomplete: set[asyncio.StreamWriter] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    def set_mode(self, mode: Mode, seconds: float = 0.1) -> None:
        self.mode, self.seconds = mode, seconds
        self._changed.set()
        self._changed = asyncio.Event()
        if mode != "drop responses":
            for writer in self._writers if mode == "reset" else self._incomplete:
                _reset(writer)
            self._incomplete.clear()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        if (task := asyncio.current_task()) is not None:
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        try:
            with contextlib.suppress(OSError):
                await self._serve(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def close(self) -> None:
        """Reset every connection, and wait until all are closed."""
        self.set_mode("reset")
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._wait_while("black hole")
        if self.mode == "reset":
            _reset(writer)
            return
        server_reader, server_writer = await asyncio.open_connection(self.host, self.port)
        self._writers.add(server_writer)
        directions = [
            asyncio.create_task(self._pump(reader, server_writer)),
            asyncio.create_task(self._pump(server_reader, writer, responses=True)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            self._writers.discard(server_writer)
            self._incomplete.discard(writer)
            server_writer.close()
            with contextlib.suppress(OSError):
                await server_writer.wait_closed()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, responses: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await self._wait_while("black hole")
                if responses and self.mode == "drop responses":
                    self._incomplete.add(writer)
                    self.dropped_bytes += len(data)
                else:
                    if not responses:
                        self.requests.append(data)
                    await self._forward(data, writer)

    async def _forward(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self.mode == "delay":
            await asyncio.sleep(self.seconds)
        while self.mode == "trickle" and data:
            writer.write(data[:_TRICKLE_BYTES])
            data = data[_TRICKLE_BYTES:]
            await asyncio.sleep(self.seconds)
        writer.write(data)
        await writer.drain()

    async def _wait_while(self, mode: Mode) -> None:
        while self.mode == mode:
            await self._changed.wait()


@asynccontextmanager
async def proxying(host: str, port: int) -> AsyncIterator[Proxy]:
    """A proxy on a free port of this machine, until the block ends."""
    proxy = Proxy(host, port)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.listens_on = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN: with a linger time of zero the kernel sends RST."""
    if (sock := writer.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
