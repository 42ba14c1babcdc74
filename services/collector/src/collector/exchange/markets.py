"""What an exchange trades: read once, shared by all who wait for it, and never replaced by garbage."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from collector.exchange.failures import ExchangeFailure
from contracts.vocabulary import ErrorClass


class Markets:
    """The markets of one ccxt instance.

    ccxt's own loading is one task that dies with the first waiter that is cancelled, taking the others along, and it
    keeps what an HTML page was parsed into: nothing. So the reading happens here, shielded, and is checked.
    """

    def __init__(
        self,
        client: Any,
        read: Callable[[], Awaitable[list[Any]]],
        *,
        refresh_seconds: float,
        loaded: Callable[[int], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read` asks the exchange and raises `ExchangeFailure`; `loaded` is told how many markets there are."""
        self._client = client
        self._read = read
        self._refresh_seconds = refresh_seconds
        self._loaded = loaded
        self._now = now
        self._loading: asyncio.Task[None] | None = None
        self._read_at: float | None = None

    async def require(self, symbol: str) -> None:
        """Return when this symbol is known. Raises `ExchangeFailure`, `BAD_SYMBOL` if the exchange has no such market.

        A market may be new: an unknown symbol makes the list be read again, unless that was done lately.
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
                f"{self._client.id} has no market {symbol} among its {len(self._client.markets)}",
                retryable=False,
            )

    async def close(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])

    async def _load(self) -> None:
        if self._loading is None:
            self._loading = asyncio.create_task(self._read_all(), name=f"markets of {self._client.id}")
            self._loading.add_done_callback(self._finished)
        # A waiter that runs out of time leaves; the reading goes on for the others.
        await asyncio.shield(self._loading)

    def _finished(self, loading: asyncio.Task[None]) -> None:
        self._loading = None
        if not loading.cancelled():
            loading.exception()  # seen, should nobody wait for it any more

    async def _read_all(self) -> None:
        markets = await self._read()
        if not [market for market in markets if isinstance(market, dict) and market.get("symbol")]:
            raise ExchangeFailure(
                ErrorClass.BAD_RESPONSE, f"{self._client.id} sent a list of markets without any market", retryable=True
            )
        self._client.set_markets(markets)
        await self._client.load_markets()  # asks nothing: from here on ccxt's own calls to it return at once
        self._read_at = self._now()
        self._loaded(len(self._client.markets))
