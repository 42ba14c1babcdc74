"""The markets of an exchange: read once, shared by all waiting runs, and never replaced by an invalid list."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from collector.exchange.failures import ExchangeFailure
from contracts.vocabulary import ErrorClass


class Markets:
    """The markets of one ccxt instance.

    ccxt's own loading is one task. If the first waiting caller is cancelled, the task is cancelled for all callers. It
    also stores the empty list that it parses from an HTML page. So this class reads the list itself, shields the
    reading from cancellation, and checks the result.
    """

    def __init__(
        self,
        client: Any,
        read: Callable[[], Awaitable[list[Any]]],
        *,
        refresh_seconds: float,
        on_loaded: Callable[[int], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read` sends the request and raises `ExchangeFailure`. `on_loaded` is called with the number of markets."""
        self._client = client
        self._read = read
        self._refresh_seconds = refresh_seconds
        self._on_loaded = on_loaded
        self._now = now
        self._loading: asyncio.Task[None] | None = None
        self._read_at: float | None = None

    async def require(self, symbol: str) -> None:
        """Return when this symbol is known. Raises `ExchangeFailure`, `BAD_SYMBOL` if the exchange has no such market.

        The market may be new. So an unknown symbol causes another read, unless the last one was too recent.
        """
        if self._read_at is None:
            await self._load()
        if symbol in self._client.markets:
            return
        if self._read_at is not None and self._now() - self._read_at >= self._refresh_seconds:
            await self._load()
        if symbol not in self._client.markets:
            raise ExchangeFailure(
                ErrorClass.BAD_SYMBOL,
                f"{self._client.id} has no market {symbol} among its {len(self._client.markets)} markets",
                retryable=False,
            )

    async def close(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])

    async def _load(self) -> None:
        if self._loading is None:
            self._loading = asyncio.create_task(self._read_all(), name=f"markets of {self._client.id}")
            self._loading.add_done_callback(self._on_done)
        # If a caller is cancelled at its deadline, the reading continues for the others.
        await asyncio.shield(self._loading)

    def _on_done(self, loading: asyncio.Task[None]) -> None:
        self._loading = None
        if not loading.cancelled():
            loading.exception()  # marks the exception as retrieved, because all callers may have been cancelled

    async def _read_all(self) -> None:
        markets = await self._read()
        if not [market for market in markets if isinstance(market, dict) and market.get("symbol")]:
            raise ExchangeFailure(
                ErrorClass.BAD_RESPONSE, f"{self._client.id} sent a list of markets without any market", retryable=True
            )
        self._client.set_markets(markets)
        await self._client.load_markets()  # sends no request; later calls by ccxt itself then return at once
        self._read_at = self._now()
        self._on_loaded(len(self._client.markets))
