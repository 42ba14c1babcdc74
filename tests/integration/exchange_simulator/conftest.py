"""A simulator in this process, and unmodified ccxt classes that use it."""

import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import aiohttp
import ccxt.async_support as ccxt
import pytest

from exchange_simulator import SimulatorSettings, running

NOW_MS = 1_760_000_030_000
"""The time of the stopped clock in these tests, in the middle of a minute."""

Serve = Callable[..., Awaitable["Served"]]


class Served:
    """A running simulator and the clients that a test has opened on it."""

    def __init__(self, base: str, now_ms: int, http: aiohttp.ClientSession, stack: AsyncExitStack) -> None:
        self.base, self.now_ms, self.http, self._stack = base, now_ms, http, stack
        # Not used, because these tests use HTTP. Without it, ccxt would create one per client, which is slow.
        self._ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def ccxt(self, exchange: str, *, spot_only: bool = True) -> Any:
        """A ccxt exchange with loaded markets that uses the simulator and the simulated time."""
        client = getattr(ccxt, exchange)({"enableRateLimit": False, "timeout_on_exit": 0})
        self._stack.push_async_callback(client.close)
        client.ssl_context = self._ssl_context
        client.urls["api"] = self._redirected(client.urls["api"])
        client.milliseconds = lambda: self.now_ms
        client.seconds = lambda: self.now_ms // 1_000
        if spot_only:
            if isinstance(client.options.get("fetchMarkets"), dict):
                client.options["fetchMarkets"]["types"] = ["spot"]
            client.has["fetchCurrencies"] = False
        await client.load_markets()
        return client

    def _redirected(self, urls: Any) -> Any:
        if isinstance(urls, dict):
            return {name: self._redirected(url) for name, url in urls.items()}
        return re.sub(r"^https?://", f"{self.base}/", urls)

    async def truth(self, exchange: str, symbol: str, timeframe: str, **query: Any) -> list[list[float]]:
        query |= {"exchange": exchange, "symbol": symbol, "timeframe": timeframe}
        return await self.get("/control/truth", **query)

    async def get(self, path: str, **query: Any) -> Any:
        async with self.http.get(self.base + path, params=query) as response:
            response.raise_for_status()
            return await response.json()

    async def mood(self, **mood: Any) -> None:
        async with self.http.post(f"{self.base}/control/moods", json=mood) as response:
            assert response.status == 201, await response.text()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts simulators with a clock that is stopped at `now_ms`. They are closed after the test."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())

        async def start(settings: SimulatorSettings | None = None, now_ms: int = NOW_MS) -> Served:
            chosen = replace(settings or SimulatorSettings(), port=0, wall=lambda: now_ms / 1_000)
            base = await stack.enter_async_context(running(chosen))
            return Served(base, now_ms, http, stack)

        yield start


@pytest.fixture
async def served(serve: Serve) -> Served:
    return await serve()
