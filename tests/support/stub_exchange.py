"""A server that sends the test's response to requests for candles, and forwards other requests to the simulator."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import aiohttp
from aiohttp import web

_CANDLE_PATHS = ("/klines", "/OHLC", "/candles", "/kline", "/history-candles")


@dataclass
class StubExchange:
    """The responses and requests of the server. Below `base`, the first part of the path is the exchange's own host."""

    base: str = ""
    now: float = 0.0
    """The Date header of its responses, seconds since the epoch."""
    status: int = 200
    body: bytes = b"[]"
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    markets: dict[str, Any] = field(default_factory=dict)
    """Bodies by path, for exchanges that the simulator does not support."""
    markets_refusal: tuple[int, bytes] | None = None
    """Status and body of all responses to other requests than those for candles, without a Date header."""
    candle_requests: list[str] = field(default_factory=list)
    """Paths and queries of the requests for candles."""

    def respond_with(
        self, body: Any, status: int = 200, content_type: str = "application/json", **headers: str
    ) -> None:
        self.body = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else _json(body)
        self.status, self.content_type = status, content_type
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()


@asynccontextmanager
async def serving(simulator: str) -> AsyncIterator[StubExchange]:
    """Serve until the block ends. `simulator`: the base URL for the forwarded requests."""
    stub = StubExchange()

    async def respond(request: web.Request) -> web.Response:
        if stub.markets_refusal is not None and not request.path.endswith(_CANDLE_PATHS):
            status, body = stub.markets_refusal
            return web.Response(status=status, body=body, content_type="application/json", headers={"Date": ""})
        if request.path in stub.markets:
            return web.json_response(stub.markets[request.path])
        if request.path.endswith(_CANDLE_PATHS):
            stub.candle_requests.append(str(request.rel_url))
            date = formatdate(stub.now, usegmt=True)
            headers = {"Content-Type": stub.content_type, "Date": date, **stub.headers}
            return web.Response(status=stub.status, body=stub.body, headers=headers)
        async with aiohttp.ClientSession() as session, session.get(simulator + str(request.rel_url)) as forwarded:
            headers = {"Content-Type": "application/json", "Date": formatdate(stub.now, usegmt=True)}
            return web.Response(status=forwarded.status, body=await forwarded.read(), headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", respond)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stub.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield stub
    finally:
        await runner.cleanup()
