"""Records the request that ccxt builds for candles or trades, without sending it.

The exchange class of ccxt is used unmodified, except for its transport and its clock: `fetch` records the request and
raises. So the record shows the real request, which often differs from ccxt's documentation and metadata.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final

from ccxt.base.errors import AuthenticationError

from collector.exchange.catalogue.comparing import CandleCall, HttpRequest
from contracts.exchange_catalogue import CannotCollect, MarketKind

_MARKET_IDS: Final = ("BTCUSDT", "1")
"""Ids of the made-up market. Most exchanges identify a market by a text, some by a number."""


_TRADES: Final = 1000


class _RequestRecorded(Exception):  # noqa: N818 -- not an error: it ends the call after the request was recorded
    """The request was recorded. No answer follows."""


def recording_class(cls: Any) -> Any:
    """A subclass of a ccxt exchange class that records requests in `sent` and takes the time from `fixed_time`."""

    class Recording(cls):  # type: ignore[misc] # ccxt's classes are chosen at run time
        sent: list[HttpRequest]
        fixed_time: int
        weight: float

        async def fetch(self, url: str, _method: str = "GET", _headers: Any = None, body: str | None = None) -> Any:
            self.sent.append(HttpRequest(url, body))
            raise _RequestRecorded

        async def load_markets(self, _reload: bool = False, _params: Any = None) -> Any:
            return self.markets

        async def throttle(self, cost: Any = None) -> None:
            """Records the cost of the request. It does not wait for the rate limit, because nothing is sent."""
            self.weight = 1.0 if cost is None else float(cost)

        def milliseconds(self) -> int:
            return self.fixed_time

        def seconds(self) -> int:
            return self.fixed_time // 1000

        def microseconds(self) -> int:
            return self.fixed_time * 1000

    Recording.__name__ = cls.__name__
    return Recording


class RequestRecorder:
    """The requests of one exchange for one kind of market, with a made-up market."""

    def __init__(self, cls: Any, kind: MarketKind) -> None:
        self.kind = kind
        self._clients: list[tuple[Any, str]] = []
        for market_id in _MARKET_IDS:
            client = recording_class(cls)()
            market = made_up_market(client, kind, market_id)
            client.set_markets([market])
            self._clients.append((client, market["symbol"]))

    def request_of(self, call: CandleCall) -> HttpRequest | CannotCollect:
        """The first request that ccxt builds for the call, or the reason why it builds none."""
        params = {} if call.until is None else {"until": call.until}
        outcome: HttpRequest | CannotCollect = CannotCollect("no market")
        for client, symbol in self._clients:
            arguments = (symbol, call.timeframe, call.since, call.limit, dict(params))
            outcome = _first_request(client, partial(client.fetch_ohlcv, *arguments), call.now, _run_at_once)
            if isinstance(outcome, HttpRequest):
                break
        return outcome

    def trades_since(self, since: int, until: int | None, now: int) -> HttpRequest | CannotCollect:
        """The first request that ccxt builds for trades from `since` on, or the reason why it builds none."""
        params = {} if until is None else {"until": until}
        outcome: HttpRequest | CannotCollect = CannotCollect("no market")
        for client, symbol in self._clients:
            call = partial(client.fetch_trades, symbol, since, _TRADES, dict(params))
            outcome = _first_request(client, call, now, _run_at_once)
            if isinstance(outcome, HttpRequest):
                break
        return outcome

    def weight_of(self, call: CandleCall) -> float:
        """The weight of the call's request in ccxt's rate limit. A request of weight 1 takes ccxt's `rateLimit`."""
        for client, symbol in self._clients:
            client.weight = 1.0
            arguments = (symbol, call.timeframe, call.since, call.limit)
            outcome = _first_request(client, partial(client.fetch_ohlcv, *arguments), call.now, _run_at_once)
            if isinstance(outcome, HttpRequest):
                return float(client.weight)
        return 1.0


def markets_refusal(cls: Any, now: int) -> CannotCollect | None:
    """The reason why ccxt requests no list of markets; None if it requests one."""
    client = recording_class(cls)()
    client.has["fetchCurrencies"] = False
    outcome = _first_request(client, client.fetch_markets, now, asyncio.run)
    return outcome if isinstance(outcome, CannotCollect) else None


def _first_request(
    client: Any, call: Callable[[], Awaitable[Any]], now: int, execute: Callable[[Coroutine[Any, Any, None]], None]
) -> HttpRequest | CannotCollect:
    client.sent, client.fixed_time = [], now
    refusal = CannotCollect("ccxt returned without a request")

    async def run() -> None:
        nonlocal refusal
        try:
            await call()
        except Exception as error:  # noqa: BLE001 -- the error of ccxt is the result to record
            refusal = CannotCollect(str(error) or type(error).__name__, isinstance(error, AuthenticationError))

    execute(run())
    sent: list[HttpRequest] = client.sent
    return sent[0] if sent else refusal


def _run_at_once(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits. Without this, each call would need an event loop, which would be much
    slower.
    """
    with suppress(StopIteration):
        coroutine.send(None)
        raise RuntimeError("ccxt waited for something other than the request, so its request cannot be recorded")


def made_up_market(client: Any, kind: MarketKind, market_id: str) -> dict[str, Any]:
    """A market of this kind in ccxt's unified structure."""
    base, quote = "BTC", "USD" if kind is MarketKind.INVERSE else "USDT"
    settle = {MarketKind.SPOT: None, MarketKind.LINEAR: quote, MarketKind.INVERSE: base}[kind]
    is_swap = kind is not MarketKind.SPOT
    market: dict[str, Any] = client.safe_market_structure(
        {
            "id": market_id,
            "lowercaseId": market_id.lower(),
            "symbol": f"{base}/{quote}" + (f":{settle}" if settle else ""),
            "base": base,
            "quote": quote,
            "settle": settle,
            "baseId": base,
            "quoteId": quote,
            "settleId": settle,
            "type": "swap" if is_swap else "spot",
            "spot": not is_swap,
            "swap": is_swap,
            "contract": is_swap,
            "margin": False,
            "future": False,
            "option": False,
            "active": True,
            "contractSize": 1.0,
            "linear": kind is MarketKind.LINEAR if is_swap else None,
            "inverse": kind is MarketKind.INVERSE if is_swap else None,
            "precision": {"amount": 1e-8, "price": 1e-8},
            "info": {},
        }
    )
    return market
