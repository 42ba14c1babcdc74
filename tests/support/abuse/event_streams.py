"""Attacks by event streams."""

import asyncio
import contextlib
import socket

import httpx

from admin_api.events.positions import decode, encode
from support.abuse.attack import Counts, Target
from support.abuse.raw_http import head, send, sockets, status_of

_ABANDONED = 12
_HELD = 60
_HOLD_SECONDS = 8.0


async def abandoned_event_streams(target: Target, counts: Counts) -> None:
    """Resume streams with an old event id, read nothing of them, and reset the connections during a send."""
    event_id = counts.notes.get("event_id") or await _latest_event_id(target, counts)
    counts.notes["event_id"] = event_id
    request = head("GET", "/events", target.viewer, [b"Last-Event-ID: " + event_id.encode()])
    with sockets(_ABANDONED, small_buffer=True) as connections:
        await asyncio.gather(*(_open(target, counts, each, request) for each in connections))
        await asyncio.sleep(2)


async def event_streams_to_the_limit(target: Target, counts: Counts) -> None:
    """Open more streams than the instance has places for, and hold them without reading."""
    request = head("GET", "/events?seconds=300", target.viewer)
    with sockets(_HELD, small_buffer=True) as connections:
        await asyncio.gather(*(_open(target, counts, each, request) for each in connections))
        await asyncio.sleep(_HOLD_SECONDS)


async def event_ids_ahead_of_the_topics(target: Target, counts: Counts) -> None:
    """Resume after events that do not exist. The stream must say `reset` and must not stay silent."""
    event_id = await _latest_event_id(target, counts)
    if not event_id:
        return
    positions, latest_ms = decode(event_id)
    forged = encode({partition: offset + 1_000_000 for partition, offset in positions.items()}, latest_ms)
    async with target.client(target.operator) as client:
        counts.sent += 1
        found = await _first_line(client, {"Last-Event-ID": forged}, "event: reset")
        counts.answers["reset" if found else "silence"] += 1


async def _open(target: Target, counts: Counts, connection: socket.socket, request: bytes) -> None:
    counts.sent += 1
    try:
        await send(target, connection, request)
    except OSError:
        counts.answers["closed"] += 1
        return
    counts.answers[await status_of(connection)] += 1


async def _latest_event_id(target: Target, counts: Counts) -> str:
    async with target.client(target.operator) as client:
        counts.sent += 1
        line = await _first_line(client, {}, "id: ")
        counts.answers["an id" if line else "no id"] += 1
        return line.removeprefix("id: ")


async def _first_line(client: httpx.AsyncClient, headers: dict[str, str], start: str, within: float = 20.0) -> str:
    """The first line of a stream that starts with a text; empty if there is none in time."""
    with contextlib.suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(within), client.stream("GET", "/events?seconds=15", headers=headers) as response:
            async for line in response.aiter_lines():
                if line.startswith(start):
                    return line
    return ""
