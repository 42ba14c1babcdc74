"""The markets of an exchange. All waiting runs share them, and an invalid list never replaces them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from collector.exchange.failures import ExchangeFailure
from collector.exchange.symbol_hints import did_you_mean
from contracts.symbols import reason_type_not_collected
from contracts.vocabulary import ErrorClass

_ADVICE: Final = (
    ". If it was delisted or renamed, disable its config; the field market of GET /configs/{id} shows since when"
)


class Markets:
    """The markets of one ccxt instance.

    ccxt's own loading is one task. If the first waiting caller is cancelled, ccxt cancels the task for all callers.
    ccxt also stores the empty list that it parses from an HTML page. So this class reads the list itself, shields the
    reading from cancellation, and checks the result.

    A market that a later list does not contain any more is kept: the list may be incomplete, and an exchange may still
    have the candles. For such a market, `remark` returns a text.
    """

    def __init__(
        self,
        client: Any,
        read: Callable[[], Awaitable[list[Any]]],
        *,
        refresh_seconds: float,
        on_loaded: Callable[[Collection[dict[str, Any]]], None],
        check_seconds: float = float("inf"),
        absent_for: timedelta = timedelta(hours=6),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read` sends the request and raises `ExchangeFailure`. `on_loaded` is called with the markets of each list
        that was read. After `check_seconds`, the list is read again in the background. `absent_for`: see
        `not_traded_since`.
        """
        self._client = client
        self._read = read
        self._refresh_seconds = refresh_seconds
        self._check_seconds = check_seconds
        self._on_loaded = on_loaded
        self._now = now
        self._loading: asyncio.Task[None] | None = None
        self._read_at: float | None = None
        self._tried_at = float("-inf")
        self._last_listed: dict[str, datetime] = {}
        """The time of the last list with a symbol, for symbols that are not in the current one."""
        self._listed_on = datetime.now(UTC)
        self._absent_for = absent_for
        self._inactive_since: dict[str, datetime] = {}
        """The time of the first list of this process that has a market as not active."""

    async def require(self, symbol: str) -> None:
        """Return when this symbol is known. Raises `ExchangeFailure`: `BAD_SYMBOL` if the exchange has no such market,
        `NOT_SUPPORTED` if it is neither a spot market nor a perpetual swap.

        The market may be new. So an unknown symbol causes another read of the list, unless the last read was too
        recent.
        """
        if self._read_at is None:
            await self._load()
        elif self._is_old():
            _ = self._start_loading()
        if symbol not in self._client.markets and self._may_refresh():
            await self._load()
        market = self._client.markets.get(symbol)
        if market is None:
            raise ExchangeFailure(
                ErrorClass.BAD_SYMBOL,
                f"{self._client.id} has no market {symbol} among its {len(self._client.markets)} markets"
                f"{did_you_mean(symbol, self._client.markets) or _ADVICE}",
                retryable=False,
            )
        kind = market.get("type")
        if isinstance(kind, str) and kind not in {"", "spot", "margin", "swap"} and not _is_spot_or_swap(market):
            raise ExchangeFailure(ErrorClass.NOT_SUPPORTED, reason_type_not_collected(symbol, kind), retryable=False)

    async def symbols(self) -> Collection[str]:
        """The known symbols; the first call reads them. Raises `ExchangeFailure`."""
        if self._read_at is None:
            await self._load()
        symbols: Collection[str] = self._client.markets
        return symbols

    async def refresh(self) -> None:
        """Read the list again, unless the last one is too recent. Raises `ExchangeFailure`."""
        if self._may_refresh():
            await self._load()

    def remark(self, symbol: str) -> str | None:
        """A remark about a known market that the exchange does not trade at present, or does not list any more. None
        if nothing is known: many exchanges do not say whether a market is active.
        """
        exchange, since = self._client.id, self._last_listed.get(symbol)
        if since is not None:
            return f"{exchange} no longer lists {symbol}; it was in the list of {since:%Y-%m-%d %H:%M} UTC"
        market = (self._client.markets or {}).get(symbol)
        if market is not None and market.get("active") is False:
            return f"{exchange} lists {symbol} as not active: it is delisted or suspended"
        return None

    def not_traded_since(self, symbol: str) -> datetime | None:
        """The time since which a known market is not traded. If the market is not active, this is the time of the first
        list of this process that says so. If no list has contained it for `absent_for`, it is the time of the last list
        that contained it. None if the market may be traded.
        """
        last_listed = self._last_listed.get(symbol)
        if last_listed is not None:
            return last_listed if self._listed_on - last_listed >= self._absent_for else None
        return self._inactive_since.get(symbol)

    def created(self, symbol: str) -> int | None:
        """The creation time of a known market according to the exchange, in milliseconds. None if the exchange does not
        send it.
        """
        created = ((self._client.markets or {}).get(symbol) or {}).get("created")
        return created if isinstance(created, int) and created > 0 else None

    async def close(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])

    def _may_refresh(self) -> bool:
        return self._read_at is not None and self._now() - self._read_at >= self._refresh_seconds

    def _is_old(self) -> bool:
        """Whether the list is old enough to be read again in the background. A failed attempt also counts as a read, so
        that it is not repeated at each run.
        """
        return self._now() - max(self._read_at or 0.0, self._tried_at) >= self._check_seconds

    async def _load(self) -> None:
        # If a caller is cancelled at its deadline, the reading continues for the others.
        await asyncio.shield(self._start_loading())

    def _start_loading(self) -> asyncio.Task[None]:
        if self._loading is None:
            self._tried_at = self._now()
            self._loading = asyncio.create_task(self._read_all(), name=f"markets of {self._client.id}")
            self._loading.add_done_callback(self._on_done)
        return self._loading

    def _on_done(self, loading: asyncio.Task[None]) -> None:
        self._loading = None
        if not loading.cancelled():
            loading.exception()  # prevents a warning by asyncio if all callers were cancelled

    async def _read_all(self) -> None:
        listed = [each for each in await self._read() if isinstance(each, dict) and each.get("symbol")]
        if not listed:
            raise ExchangeFailure(
                ErrorClass.BAD_RESPONSE, f"{self._client.id} sent a list of markets without any market", retryable=True
            )
        symbols = {each["symbol"] for each in listed}
        before = self._client.markets if self._read_at is not None else {}
        missing = {symbol: market for symbol, market in before.items() if symbol not in symbols}
        self._last_listed = {symbol: self._last_listed.get(symbol, self._listed_on) for symbol in missing}
        self._client.set_markets([*listed, *missing.values()])
        await self._client.load_markets()  # this sends no request, and later calls by ccxt return at once
        self._read_at, self._listed_on = self._now(), datetime.now(UTC)
        inactive = {each["symbol"] for each in listed if each.get("active") is False}
        self._inactive_since = {each: self._inactive_since.get(each, self._listed_on) for each in inactive}
        self._on_loaded(listed)


def _is_spot_or_swap(market: dict[str, Any]) -> bool:
    return market.get("spot") is True or market.get("swap") is True
