"""A client that hangs up while a response is streamed, on a real HTTP server."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from fastapi import FastAPI
from fastapi.sse import EventSourceResponse
from starlette.responses import StreamingResponse

from admin_api.middleware.unexpected_errors import UnexpectedErrorMiddleware
from runtime.process.http_server import http_server
from support.polling import eventually

TEXT = "x" * 100_000


class Streams:
    """An application with streams in the ways that FastAPI and Starlette offer. Counts the requests that ended."""

    def __init__(self) -> None:
        self.ended = 0
        self.inner = FastAPI()
        self.inner.get("/sse", response_class=EventSourceResponse)(self.server_sent_events)
        self.inner.get("/body")(self.body)
        self.inner.get("/defect")(self.defect)
        self.app = UnexpectedErrorMiddleware(self.inner)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            self.ended += 1

    async def server_sent_events(self) -> AsyncIterator[str]:
        while True:
            yield TEXT

    async def body(self) -> StreamingResponse:
        return StreamingResponse(endless())

    async def defect(self) -> StreamingResponse:
        return StreamingResponse(endless(KeyError("a defect")))


async def endless(at_the_end: Exception | None = None) -> AsyncIterator[str]:
    try:
        while True:
            yield TEXT
            await asyncio.sleep(0)
    finally:
        if at_the_end is not None:
            raise at_the_end


@pytest.fixture
async def streams() -> AsyncIterator[tuple[Streams, int]]:
    streams = Streams()
    async with http_server(streams, "127.0.0.1", 0) as port:
        yield streams, port


async def hang_up(port: int, path: str) -> None:
    """Request a path, receive the beginning of the response, read no further, and hang up."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: api\r\n\r\n".encode())
        assert (await asyncio.to_thread(client.recv, 100)).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("path", ["/sse", "/body"])
async def test_a_client_that_hangs_up_during_a_stream_is_no_error(
    streams: tuple[Streams, int], path: str, caplog: pytest.LogCaptureFixture
) -> None:
    served, port = streams
    with structlog.testing.capture_logs() as lines:
        for count in range(1, 6):
            await hang_up(port, path)
            await eventually(lambda count=count: served.ended == count, within=10)
    assert [line for line in lines if line["log_level"] != "debug"] == []
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_defect_is_reported_although_the_client_has_hung_up(streams: tuple[Streams, int]) -> None:
    served, port = streams
    with structlog.testing.capture_logs() as lines:
        await hang_up(port, "/defect")
        await eventually(lambda: served.ended == 1, within=10)
    assert [line["action"] for line in lines] == ["request_failed"]
