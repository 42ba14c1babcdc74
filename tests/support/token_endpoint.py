"""A token endpoint of OAuth 2 on loopback, with the answer that a test chooses."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote


@dataclass
class TokenEndpoint:
    url: str = ""
    status: int = 200
    answer: str = "{}"
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Client id, client secret, and form of each request."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n"))}
        form = dict(parse_qsl((await reader.readexactly(int(headers["content-length"]))).decode()))
        login = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode()
        client, _, secret = login.partition(":")
        self.requests.append((unquote(client), unquote(secret), form))
        writer.write(
            f"HTTP/1.1 {self.status} Answer\r\nLocation: {self.url}\r\nContent-Length: {len(self.answer)}\r\n"
            f"Connection: close\r\n\r\n{self.answer}".encode()
        )
        await writer.drain()
        writer.close()


@asynccontextmanager
async def token_endpoint() -> AsyncIterator[TokenEndpoint]:
    endpoint = TokenEndpoint()
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    endpoint.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token"
    async with server:
        yield endpoint
