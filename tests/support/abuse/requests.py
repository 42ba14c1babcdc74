"""Attacks by single odd requests, and by connections that never finish one."""

import asyncio
import socket

import httpx

from support.abuse.attack import Counts, Target
from support.abuse.raw_http import exchange, head, is_closed, send, sockets

_HALF_OPEN = 100
CLOSED_WITHIN = 70.0
"""Seconds after which a connection without a whole request must be closed."""
_ODD_IDS = ("1_0", "+1", "01", "1e0", "1.0", "%D9%A1", "0x1", "%201", "9" * 400, "-1", "%00", "1%0a")
_ODD_QUERIES = ("symbol=%ff%fe", "%ff=1", "limit=1_0", "limit=+1", "cursor=" + "A" * 2000)
_JSON = {"Content-Type": "application/json"}


async def odd_requests(target: Target, counts: Counts) -> None:
    """Ids, queries, names and zones that a layer might read in another way than the next."""
    async with target.client(target.viewer) as client:
        for odd in _ODD_IDS:
            await counts.request(client, "GET", f"/configs/{odd}")
        for query in _ODD_QUERIES:
            await counts.request(client, "GET", f"/configs?{query}")
        await counts.request(client, "GET", "/configs/999999999", headers={"X-Forwarded-For": "fe80::1%eth0"})
    async with target.client(target.operator) as client:
        twice = b'{"select": {"ids": [1]}, "select": {"symbol": "*"}}'
        await counts.request(client, "POST", "/configs/bulk/enable", content=twice, headers=_JSON)
        clean = {"select": {"symbol": "\x1b[2J\r\n\u202e"}}
        await counts.request(client, "POST", "/configs/bulk/enable", json={**clean, "\x1b[31m": 1})


async def half_open_requests(target: Target, counts: Counts) -> None:
    """Connections that send half a head or half a body and then nothing."""
    half_head = head("GET", "/me", target.viewer)[:-2]
    half_body = head("POST", "/configs", target.admin, [b"Content-Length: 100", b"Content-Type: application/json"])
    with sockets(_HALF_OPEN) as connections:
        await asyncio.gather(
            *(
                _stall(target, counts, connection, half_head if number % 2 else half_body + b'{"symbol"')
                for number, connection in enumerate(connections)
            )
        )


async def _stall(target: Target, counts: Counts, connection: socket.socket, half: bytes) -> None:
    counts.sent += 1
    try:
        await send(target, connection, half)
    except OSError:
        counts.answers["closed"] += 1
        return
    closed = await is_closed(connection, CLOSED_WITHIN)
    counts.answers["closed" if closed else "still open"] += 1


async def contradictory_lengths(target: Target, counts: Counts) -> None:
    """Transfer-Encoding with Content-Length, and two different lengths: request smuggling through a proxy."""
    smuggled = head("GET", "/tokens", target.viewer)
    both = [b"Content-Length: 5", b"Transfer-Encoding: chunked"]
    await exchange(target, counts, head("GET", "/me", target.viewer, both) + b"0\r\n\r\n" + smuggled)
    two = [b"Content-Length: 5", b"Content-Length: 6"]
    await exchange(target, counts, head("GET", "/me", target.viewer, two) + b"01234" + smuggled)
    await exchange(target, counts, head("GET", "/me", target.viewer, [b"Transfer-Encoding: chunked, x"]) + b"0\r\n\r\n")
    await exchange(target, counts, b"NOT HTTP AT ALL\r\n\r\n")


async def cross_origin_calls_of_the_simulator(target: Target, counts: Counts) -> None:
    """A page of another site sends a simple request to the simulator's control endpoint. The mood has no effect."""
    headers = {"Origin": "https://other.example", "Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}
    mood = '{"kind": "latency", "exchange": "binance", "latency_ms": 1, "count": 1}'
    async with httpx.AsyncClient(base_url=target.simulator_url, verify=False, timeout=60) as client:
        await counts.request(client, "POST", "/control/moods", content=mood, headers=headers)
        await counts.request(client, "DELETE", "/control/moods", headers=headers)
