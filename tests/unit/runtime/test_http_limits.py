"""The HTTP server limits slow, ambiguous and expensive requests."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from runtime.process import http_protocol
from runtime.process.http_server import http_server
from support.polling import eventually

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


class App:
    """Reads the body and answers with its length; answers `/early` at once. Notes the end of each request."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        length = 0
        while scope["path"] != "/early":
            message = await receive()
            if message["type"] == "http.disconnect":
                self.ends.append("disconnect")
                return
            length += len(message["body"])
            if not message["more_body"]:
                break
        body = str(length).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self.ends.append("response")


Connect = Callable[[], Any]


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
async def connect(app: App) -> AsyncIterator[Connect]:
    async with http_server(app, "127.0.0.1", 0) as port:

        @asynccontextmanager
        async def connection() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.timeout(20):
                yield reader, writer
            writer.close()

        yield connection


async def sent_to_the_end(reader: asyncio.StreamReader) -> bytes:
    """All that the server sends until it closes the connection."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def read_response(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head + await reader.readexactly(length)


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(http_protocol, "BODY_SECONDS", 0.4)


async def write_slowly(writer: asyncio.StreamWriter, data: bytes) -> None:
    """One byte at a time, until the server closes the connection."""
    for number in range(len(data)):
        writer.write(data[number : number + 1])
        try:
            await writer.drain()
        except ConnectionError:
            return
        await asyncio.sleep(0.01)


async def write_endlessly(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 1_000_000)
        await writer.drain()


@pytest.mark.usefixtures("short_limits")
@pytest.mark.parametrize("before", [b"", b"GET /early HTTP/1.1\r\nHost: a\r\n\r\n"], ids=["first", "second"])
async def test_slow_headers_are_ended(connect: Connect, before: bytes) -> None:
    async with connect() as (reader, writer):
        if before:
            writer.write(before)
            await read_response(reader)
        slow = asyncio.create_task(write_slowly(writer, HEAD + b"A: " + b"x" * 2000))
        assert b" 408 " in (await sent_to_the_end(reader)).partition(b"\r\n")[0]
        await slow


@pytest.mark.usefixtures("short_limits")
async def test_a_connection_without_a_request_is_ended(connect: Connect) -> None:
    async with connect() as (reader, _):
        assert b"200" not in await sent_to_the_end(reader)


@pytest.mark.usefixtures("short_limits")
@pytest.mark.parametrize(
    "head", [HEAD + b"Content-Length: 5000\r\n\r\n", CHUNKED + b"1388\r\n"], ids=["length", "chunked"]
)
async def test_a_slow_body_is_408_and_the_application_sees_a_disconnection(
    connect: Connect, app: App, head: bytes
) -> None:
    async with connect() as (reader, writer):
        writer.write(head)
        slow = asyncio.create_task(write_slowly(writer, b"x" * 5000))
        assert (await sent_to_the_end(reader)).startswith(b"HTTP/1.1 408 ")
        await eventually(lambda: app.ends == ["disconnect"])
        await slow


@pytest.mark.usefixtures("short_limits")
async def test_a_complete_request_may_be_answered_after_the_limits(connect: Connect) -> None:
    async with connect() as (reader, writer):
        for _ in range(3):
            writer.write(HEAD + b"Content-Length: 2\r\n\r\n{}")
            assert (await read_response(reader)).endswith(b"2")
            await asyncio.sleep(0.15)


async def test_transfer_encoding_with_content_length_closes_the_connection(connect: Connect, app: App) -> None:
    for headers in (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n",
    ):
        async with connect() as (reader, writer):
            writer.write(HEAD + headers + END + b"GET /early HTTP/1.1\r\nHost: a\r\n\r\n")
            received = await sent_to_the_end(reader)
            assert received.startswith(b"HTTP/1.1 400 ")
            assert received.count(b"HTTP/1.1") == 1
    assert app.ends == []


async def test_a_body_in_many_small_pieces_is_refused(connect: Connect, app: App) -> None:
    async with connect() as (reader, writer):
        writer.write(CHUNKED + b"1\r\nx\r\n" * 100_000 + END)
        assert (await sent_to_the_end(reader)).startswith(b"HTTP/1.1 400 ")
    async with connect() as (reader, writer):
        writer.write(CHUNKED + b"1\r\nx\r\n" * 900 + END)
        assert (await read_response(reader)).endswith(b"900")
    async with connect() as (reader, writer):
        writer.write(CHUNKED + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 4096 + END)
        assert (await read_response(reader)).endswith(str(4096 * 1024).encode())
    assert app.ends.count("response") == 2


async def test_after_an_early_response_the_rest_of_the_body_is_discarded_up_to_a_limit(connect: Connect) -> None:
    early = HEAD.replace(b" / ", b" /early ")
    async with connect() as (reader, writer):
        writer.write(early + b"Content-Length: 4000000\r\n\r\n")
        assert (await read_response(reader)).endswith(b"0")
        writer.write(b"x" * 4_000_000 + HEAD + b"Content-Length: 2\r\n\r\n{}")
        assert (await read_response(reader)).endswith(b"2")
    async with connect() as (reader, writer):
        writer.write(early + b"Content-Length: 40000000000\r\n\r\n")
        assert (await read_response(reader)).endswith(b"0")
        with pytest.raises(ConnectionError):
            await write_endlessly(writer)


@pytest.mark.usefixtures("short_limits")
async def test_a_slow_rest_of_a_body_after_an_early_response_is_ended(connect: Connect) -> None:
    async with connect() as (reader, writer):
        writer.write(HEAD.replace(b" / ", b" /early ") + b"Content-Length: 4000\r\n\r\n")
        assert (await read_response(reader)).endswith(b"0")
        slow = asyncio.create_task(write_slowly(writer, b"x" * 4000))
        assert await sent_to_the_end(reader) == b""
        await slow


async def test_an_idle_connection_outlasts_the_idle_time_of_load_balancers_and_is_closed_later(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = b"GET /early HTTP/1.1\r\nHost: a\r\n\r\n"
    loop = asyncio.get_running_loop()
    real_time = loop.time
    async with http_server(app, "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        await read_response(reader)
        monkeypatch.setattr(loop, "time", lambda: real_time() + 65)
        for _ in range(10):
            await asyncio.sleep(0)  # the event loop calls the timers of these 65 seconds
        writer.write(request)
        assert b" 200 " in await read_response(reader)
        monkeypatch.setattr(loop, "time", lambda: real_time() + 150)
        assert await sent_to_the_end(reader) == b""
        writer.close()


def test_connections_that_arrive_together_are_accepted_within_few_turns_of_the_event_loop(app: App) -> None:
    """With uvloop, as in every service."""
    count = 64

    async def turns_until_all_are_answered() -> int:
        async with http_server(app, "127.0.0.1", 0) as port:
            clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
            for client in clients:
                client.sendall(b"GET /early HTTP/1.1\r\nHost: a\r\n\r\n")
            turns = 0
            while len(app.ends) < count:
                await asyncio.sleep(0)
                turns += 1
            for client in clients:
                client.close()
            return turns

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(turns_until_all_are_answered()) < count / 2
