"""Refusals and empty responses on every exchange whose candles ccxt reads, through ccxt's own classes."""

import importlib.util
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import collector
from collector.exchange.clients import ClientOptions, ExchangeClient
from collector.exchange.clock import ExchangeClock
from collector.exchange.failures import ExchangeFailure
from collector.exchange.rate_limiter import RateLimiter
from collector.exchange.response_shape import CANDLE_LISTS, Path_, paths_of
from collector.exchange.traits import ANY_KEY
from collector.metrics import CollectorMetrics
from prometheus_client import CollectorRegistry

GENERATOR = Path(collector.__file__ or "").parents[2] / "generate_candle_lists.py"
EXCHANGES: dict[str, Any] = json.loads(CANDLE_LISTS.read_text())["exchanges"]
SERIES = [(exchange, kind) for exchange, kinds in EXCHANGES.items() for kind in kinds]

NO_REQUEST = {
    # ccxt itself refuses these, because it needs credentials or further parameters.
    *(("luno", kind) for kind in ("spot", "swap")),
    *(("modetrade", kind) for kind in ("spot", "swap")),
    *(("woofipro", kind) for kind in ("spot", "swap")),
    ("cex", "spot"),
    ("zebpay", "spot"),
}


class Server:
    """Sends the same body for every request."""

    base: str = ""
    body: bytes = b"[]"
    status: int = 200
    requests: int = 0


@pytest.fixture(scope="module")
def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate_candle_lists", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()

    async def respond(_: web.Request) -> web.Response:
        server.requests += 1
        return web.Response(body=server.body, status=server.status, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", respond)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


class Series:
    """One symbol of one exchange, whose requests go to the server."""

    def __init__(self, server: Server, generator: Any, exchange: str, kind: str) -> None:
        self.server, self.exchange, self.kind = server, exchange, kind
        self.symbol = generator.SYMBOLS[kind][0]
        options = ClientOptions(url_overrides={exchange: server.base}, request_timeout_seconds=5)
        metrics = CollectorMetrics(CollectorRegistry())
        self.client = ExchangeClient(exchange, options, metrics, ExchangeClock(), lambda _exchange, _circuit: None)
        ccxt_client, _ = self.client._client_and_markets(self.symbol)
        ccxt_client.set_markets([generator.market_of(ccxt_client, self.symbol)])
        ccxt_client.throttler = RateLimiter(0, lambda _seconds: None)  # the rates of ninety exchanges take minutes
        self.timeframe = "1m" if "1m" in ccxt_client.timeframes else next(iter(ccxt_client.timeframes))

    async def response_to(self, body: Any, status: int = 200) -> list[Any] | ExchangeFailure:
        self.server.body, self.server.status = json.dumps(body).encode(), status
        try:
            return (await self.client.fetch(self.symbol, self.timeframe, 1_764_000_000_000, 10)).rows
        except ExchangeFailure as failure:
            return failure


def placed(value: Any, path: Path_) -> Any:
    """JSON with `value` at the path."""
    for key in reversed(path):
        value = [value] if isinstance(key, int) else {"77" if key == ANY_KEY else key: value}
    return value

@pytest.mark.parametrize(("exchange", "kind"), SERIES)
async def test_debug(exchange, kind, server, generator):
    series = Series(server, generator, exchange, kind)
    try:
        out=[]
        for path in paths_of(exchange, kind):
            for empty in ([], None):
                if not path and empty!=[]: continue
                got = await series.response_to(placed(empty, path))
                if got!=[]: out.append((path,empty,str(got)[:150]))
        if out: print("EMPTY", exchange, kind, server.requests, out)
        out=[]
        for refusal in ({"code":50001,"msg":"system busy"},{"error":"busy"},{"msg":"system busy"}):
          for path in paths_of(exchange, kind):
                body = {**placed([],path), **refusal} if path else refusal
                got = await series.response_to(body)
                if not isinstance(got, ExchangeFailure): out.append((body,got))
        if out: print("REFUSAL", exchange, kind, server.requests, out)
    finally:
        await series.client.close()
