"""A TCP proxy that can be told, while connections are open, to be slow, deaf, rude or nearly stuck."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["pass", "delay", "black hole", "swallow answers", "reset", "trickle"]
_RESET = struct.pack("ii", 1, 0)
_TRICKLE_BYTES = 16


@dataclass
class Proxy:
    """`pass`; `delay`: every piece waits `seconds`; `black hole`: connections open and nothing passes, either way,
    until the mode ends; `swallow answers`: what clients say passes, what they are answered is lost, and a connection
    that lost something is cut when the mode ends; `reset`: connections, old and new, are cut by RST; `trickle`: 16
    bytes, then `seconds` of nothing.
    """

    host: str
    port: int
    listens_on: int = 0
    seconds: float = 0.1
    mode: Mode = "pass"
    connections: int = 0
    """Accepted so far."""
    swallowed: int = 0
    """Bytes of answers, so far."""
    _torn: set[asyncio.StreamWriter] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def be(self, mode: Mode, seconds: float = 0.1) -> None:
        self.mode, self.seconds = mode, seconds
        self._changed.set()
        self._changed = asyncio.Event()
        if mode != "swallow answers":
            for writer in self._writers if mode == "reset" else self._torn:
                _cut(writer)
            self._torn.clear()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            await self._serve(reader, writer)
        self._writers.discard(writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._while("black hole")
        if self.mode == "reset":
            _cut(writer)
            return
        far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
        self._writers.add(far_writer)
        ways = [
            asyncio.create_task(self._pump(reader, far_writer)),
            asyncio.create_task(self._pump(far_reader, writer, answers=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            self._writers.discard(far_writer)
            self._torn.discard(writer)
            far_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await self._while("black hole")
                if answers and self.mode == "swallow answers":
                    self._torn.add(writer)
                    self.swallowed += len(data)
                else:
                    await self._pass_on(data, writer)

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self.mode == "delay":
            await asyncio.sleep(self.seconds)
        while self.mode == "trickle" and data:
            writer.write(data[:_TRICKLE_BYTES])
            data = data[_TRICKLE_BYTES:]
            await asyncio.sleep(self.seconds)
        writer.write(data)
        await writer.drain()

    async def _while(self, mode: Mode) -> None:
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
        proxy.be("reset")


def _cut(writer: asyncio.StreamWriter) -> None:
    """Close without a goodbye: lingering for no time makes the kernel send RST."""
    if (sock := writer.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
