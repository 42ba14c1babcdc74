import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from support.faults.proxy import Proxy, proxying
from support.polling import eventually


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with proxying(*server.sockets[0].getsockname()[:2]) as proxy:
        yield proxy
    server.close()


async def _send(proxy: Proxy, data: bytes, within: float = 5.0) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.listens_on)
    try:
        writer.write(data)
        async with asyncio.timeout(within):
            return await reader.readexactly(len(data))
    finally:
        writer.close()


async def test_data_passes_in_both_directions(proxy: Proxy) -> None:
    sent = bytes(range(256)) * 1000
    assert await _send(proxy, sent) == sent
    assert proxy.connections == 1


async def test_a_delay_applies_to_each_direction(proxy: Proxy) -> None:
    proxy.set_mode("delay", seconds=0.1)
    started = time.monotonic()
    assert await _send(proxy, b"hello") == b"hello"
    assert time.monotonic() - started >= 0.2


async def test_a_black_hole_accepts_connections_and_passes_no_data_until_it_ends(proxy: Proxy) -> None:
    proxy.set_mode("black hole")
    with pytest.raises(TimeoutError):
        await _send(proxy, b"hello", within=0.2)
    waiting = asyncio.create_task(_send(proxy, b"hello"))
    await asyncio.sleep(0.05)
    proxy.set_mode("pass")
    assert await waiting == b"hello"


async def test_a_black_hole_also_affects_open_connections(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.listens_on)
    writer.write(b"one")
    assert await reader.readexactly(3) == b"one"
    proxy.set_mode("black hole")
    writer.write(b"two")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(3), 0.2)
    writer.close()


async def test_a_reset_affects_existing_and_new_connections(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.listens_on)
    writer.write(b"one")
    assert await reader.readexactly(3) == b"one"
    proxy.set_mode("reset")
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await _send(proxy, b"two")
    writer.close()


async def test_trickled_data_arrives_completely_and_late(proxy: Proxy) -> None:
    proxy.set_mode("trickle", seconds=0.02)
    sent = b"x" * 80
    started = time.monotonic()
    assert await _send(proxy, sent) == sent
    assert time.monotonic() - started >= 0.06


async def test_dropped_responses_are_lost_and_requests_arrive() -> None:
    received = bytearray()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            received.extend(data)
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    async with proxying(*server.sockets[0].getsockname()[:2]) as proxy:
        proxy.set_mode("drop responses")
        with pytest.raises(TimeoutError):
            await _send(proxy, b"hello", within=0.2)
        assert received == b"hello"
        assert proxy.dropped_bytes == 5
    server.close()


async def test_a_connection_that_lost_a_response_is_reset_and_others_stay_open(proxy: Proxy) -> None:
    idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", proxy.listens_on)
    idle_writer.write(b"a")
    assert await idle_reader.readexactly(1) == b"a"
    proxy.set_mode("drop responses")
    affected = asyncio.create_task(_send(proxy, b"hello"))
    await eventually(lambda: proxy.dropped_bytes == 5)
    proxy.set_mode("pass")
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await affected
    idle_writer.write(b"b")
    assert await idle_reader.readexactly(1) == b"b"
    idle_writer.close()
