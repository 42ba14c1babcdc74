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


async def _say(proxy: Proxy, what: bytes, within: float = 5.0) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.listens_on)
    try:
        writer.write(what)
        async with asyncio.timeout(within):
            return await reader.readexactly(len(what))
    finally:
        writer.close()


async def test_it_passes_everything_both_ways(proxy: Proxy) -> None:
    said = bytes(range(256)) * 1000
    assert await _say(proxy, said) == said
    assert proxy.connections == 1


async def test_a_delay_is_paid_on_each_way(proxy: Proxy) -> None:
    proxy.be("delay", seconds=0.1)
    began = time.monotonic()
    assert await _say(proxy, b"hello") == b"hello"
    assert time.monotonic() - began >= 0.2


async def test_a_black_hole_takes_connections_and_lets_nothing_through_until_it_ends(proxy: Proxy) -> None:
    proxy.be("black hole")
    with pytest.raises(TimeoutError):
        await _say(proxy, b"hello", within=0.2)
    patient = asyncio.create_task(_say(proxy, b"hello"))
    await asyncio.sleep(0.05)
    proxy.be("pass")
    assert await patient == b"hello"


async def test_an_open_connection_falls_into_a_black_hole_as_well(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.listens_on)
    writer.write(b"one")
    assert await reader.readexactly(3) == b"one"
    proxy.be("black hole")
    writer.write(b"two")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(3), 0.2)
    writer.close()


async def test_a_reset_cuts_old_connections_and_new_ones(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.listens_on)
    writer.write(b"one")
    assert await reader.readexactly(3) == b"one"
    proxy.be("reset")
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await _say(proxy, b"two")
    writer.close()


async def test_a_trickle_arrives_whole_and_late(proxy: Proxy) -> None:
    proxy.be("trickle", seconds=0.02)
    said = b"x" * 80
    began = time.monotonic()
    assert await _say(proxy, said) == said
    assert time.monotonic() - began >= 0.06


async def test_swallowed_answers_are_lost_and_what_was_said_arrives() -> None:
    heard = bytearray()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            heard.extend(data)
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with proxying(*server.sockets[0].getsockname()[:2]) as proxy:
        proxy.be("swallow answers")
        with pytest.raises(TimeoutError):
            await _say(proxy, b"hello", within=0.2)
        assert heard == b"hello"
        assert proxy.swallowed == 5
    server.close()


async def test_a_connection_that_lost_an_answer_is_cut_and_others_live_on(proxy: Proxy) -> None:
    quiet_reader, quiet_writer = await asyncio.open_connection("127.0.0.1", proxy.listens_on)
    quiet_writer.write(b"a")
    assert await quiet_reader.readexactly(1) == b"a"
    proxy.be("swallow answers")
    torn = asyncio.create_task(_say(proxy, b"hello"))
    await eventually(lambda: proxy.swallowed == 5)
    proxy.be("pass")
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await torn
    quiet_writer.write(b"b")
    assert await quiet_reader.readexactly(1) == b"b"
    quiet_writer.close()
