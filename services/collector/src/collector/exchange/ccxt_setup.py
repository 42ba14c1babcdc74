"""Instances of ccxt's classes, and the changes to them before their first request."""

import re
from collections.abc import Callable
from typing import Any, Final

import ccxt.async_support as ccxt

from collector.exchange.failures import ExchangeFailure
from collector.exchange.strict_http import strict_class
from contracts.vocabulary import ErrorClass

_VALUES_OF_CCXT: Final = 6
_CCXT_MARKET_TYPES: Final = {"spot": frozenset({"spot"}), "swap": frozenset({"swap", "linear", "inverse", "contract"})}


def build_ccxt_client(exchange: str, kind: str, *, timeout_ms: int, base_url: str | None) -> Any:
    """An instance of ccxt's class for the markets of this kind (spot or swap). With `base_url`, all its requests go to
    that server. Raises `ExchangeFailure` if ccxt does not know the exchange.
    """
    if exchange not in ccxt.exchanges:
        raise ExchangeFailure(
            ErrorClass.NOT_SUPPORTED,
            f"ccxt {ccxt.__version__} does not support the exchange {exchange}",
            retryable=False,
        )
    client = strict_class(getattr(ccxt, exchange))({"timeout": timeout_ms})
    client.timeout_on_exit = 0
    client.enableLastHttpResponse = client.enableLastJsonResponse = client.enableLastResponseHeaders = False
    restrict_markets(client, kind)
    if base_url is not None:
        redirect_requests(client, base_url)
    return client


def restrict_markets(client: Any, kind: str) -> None:
    """Make ccxt read only the markets of this kind. Reading all markets is expensive: it needs three requests and 50 MB
    on Binance, and eleven requests on Bybit.
    """
    client.has["fetchCurrencies"] = False
    options = client.options.get("fetchMarkets")
    types = options.get("types") if isinstance(options, dict) else None
    names = _CCXT_MARKET_TYPES[kind]
    if isinstance(types, list):
        selected: Any = [each for each in types if each in names]
    elif isinstance(types, dict):
        selected = {name: value if name in names else _disabled(value) for name, value in types.items()}
    else:
        return
    if selected:
        client.options["fetchMarkets"] = {**options, "types": selected}


def _disabled(value: Any) -> Any:
    return dict.fromkeys(value, False) if isinstance(value, dict) else False


def redirect_requests(client: Any, base: str) -> None:
    """Send all REST requests to another server. The exchange's own host becomes the first part of the path.

    Every request of ccxt passes `fetch`. A change of `urls` would not redirect all requests: its form differs between
    classes, and some methods use hosts that are not in it.
    """
    send = client.fetch

    async def redirected(url: str, *args: Any, **kwargs: Any) -> Any:
        return await send(re.sub(r"^https?://", f"{base.rstrip('/')}/", url), *args, **kwargs)

    client.fetch = redirected


def keep_activity(client: Any, read: Callable[[object, Any], tuple[int | None, float | None]]) -> None:
    """Append the trade count and the quote volume, which ccxt drops, to each row of candles. `read` gets the raw row
    and ccxt's market.
    """
    parse = client.parse_ohlcv

    def parse_ohlcv(ohlcv: object, market: Any = None) -> Any:
        row = parse(ohlcv, market)
        if not isinstance(row, list) or len(row) != _VALUES_OF_CCXT:
            return row
        return [*row, *read(ohlcv, market)]

    client.parse_ohlcv = parse_ohlcv
