"""A server that answers requests for candles with what a test says, and leaves the rest to the exchange simulator."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import aiohttp
from aiohttp import web

_CANDLES = ("/klines", "/OHLC", "/candles", "/kline", "/history-candles")


@dataclass
class Tape:
    """`base` stands in for the internet: the exchange's own host is the first part of the path."""

    base: str = ""
    now: float = 0.0
    """What its answers are dated, seconds since the epoch."""
    status: int = 200
    body: bytes = b"[]"
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    markets: dict[str, Any] = field(default_factory=dict)
    """Bodies by path, for exchanges that the simulator does not speak."""
    asked: list[str] = field(default_factory=list)
    """Paths and queries of the requests for candles."""

    def says(self, body: Any, status: int = 200, content_type: str = "application/json", **headers: str) -> None:
        self.body = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else _json(body)
        self.status, self.content_type = status, content_type
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()


@asynccontextmanager
async def playing(simulator: str) -> AsyncIterator[Tape]:
    """Serves until the block ends; what is no candle is asked of the simulator at that base URL."""
    tape = Tape()

    async def answer(request: web.Request) -> web.Response:
        if request.path in tape.markets:
            return web.json_response(tape.markets[request.path])
        if request.path.endswith(_CANDLES):
            tape.asked.append(str(request.rel_url))
            dated = formatdate(tape.now, usegmt=True)
            headers = {"Content-Type": tape.content_type, "Date": dated, **tape.headers}
            return web.Response(status=tape.status, body=tape.body, headers=headers)
        async with aiohttp.ClientSession() as session, session.get(simulator + str(request.rel_url)) as passed:
            headers = {"Content-Type": "application/json", "Date": formatdate(tape.now, usegmt=True)}
            return web.Response(status=passed.status, body=await passed.read(), headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        tape.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield tape
    finally:
        await runner.cleanup()
