"""The markets of an exchange: ccxt's symbol, the exchange's id, and the sizes of tick and lot."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

from exchange_simulator import catalogue

Kind = Literal["spot", "swap"]
EXCHANGES = ("binance", "kraken", "coinbase", "bybit", "okx")

_KRAKEN_ASSETS = {"BTC": "XXBT", "DOGE": "XXDG"} | {
    a: f"X{a}" for a in ("ETH", "LTC", "XRP", "XLM", "XMR", "ZEC", "ETC")
}
_KRAKEN_MONEY = {"USD": "ZUSD", "EUR": "ZEUR", "GBP": "ZGBP"}
_KRAKEN_ALTNAMES = {"BTC": "XBT", "DOGE": "XDG"}


@dataclass(frozen=True, slots=True)
class Market:
    """`base` and `quote` have the exchange's spelling; `symbol` is ccxt's name of the market, in capitals."""

    exchange: str
    kind: Kind
    base: str
    quote: str
    id: str
    price: float
    price_decimals: int
    volume_decimals: int

    @property
    def symbol(self) -> str:
        spot = f"{self.base}/{self.quote}".upper()
        return spot if self.kind == "spot" else f"{spot}:{self.quote}"

    @property
    def tick(self) -> str:
        return size(self.price_decimals)

    @property
    def lot(self) -> str:
        return size(self.volume_decimals)


@dataclass(frozen=True)
class Listing:
    """All markets of one exchange, by ccxt's symbol and by the exchange's id."""

    markets: tuple[Market, ...]

    @cached_property
    def by_symbol(self) -> dict[str, Market]:
        return {market.symbol: market for market in self.markets}

    @cached_property
    def by_id(self) -> dict[tuple[Kind, str], Market]:
        return {(market.kind, market.id): market for market in self.markets}

    def of_kind(self, kind: Kind) -> list[Market]:
        return [market for market in self.markets if market.kind == kind]


def size(decimals: int) -> str:
    """The smallest step with this number of decimals: `0.01` for 2."""
    return f"{10.0**-decimals:.{decimals}f}"


@cache
def list_markets(exchange: str, extra_symbols: tuple[str, ...] = ()) -> Listing:
    """The markets of an exchange in the catalogue, and the symbols of recordings."""
    markets = {market.symbol: market for market in _catalogue_markets(exchange)}
    for symbol in extra_symbols:
        if symbol not in markets:
            pair, _, settle = symbol.partition(":")
            base, _, quote = pair.partition("/")
            markets[symbol] = build_market(exchange, "swap" if settle else "spot", base, quote)
    return Listing(tuple(markets.values()))


def _catalogue_markets(exchange: str) -> Iterator[Market]:
    for quote, count in catalogue.SPOT[exchange].items():
        for base in list(catalogue.ASSETS)[:count]:
            if base != quote:
                yield build_market(exchange, "spot", base, quote)
    for quote, count in catalogue.SWAPS.get(exchange, {}).items():
        for base in list(catalogue.ASSETS)[:count]:
            yield build_market(exchange, "swap", base, quote)
    if exchange == "kraken":
        for base in catalogue.STOCK_TOKENS:
            yield build_market(exchange, "spot", base, "USD")


def build_market(exchange: str, kind: Kind, base: str, quote: str) -> Market:
    price = catalogue.usd_price(base) / catalogue.usd_price(quote)
    return Market(
        exchange=exchange,
        kind=kind,
        base=base,
        quote=quote,
        id=_market_id(exchange, kind, base, quote),
        price=price,
        price_decimals=_price_decimals(exchange, price),
        volume_decimals=_volume_decimals(exchange, kind, price),
    )


def _market_id(exchange: str, kind: Kind, base: str, quote: str) -> str:
    if exchange == "kraken":
        return kraken_pair(base, quote)
    if exchange == "coinbase":
        return f"{base}-{quote}"
    if exchange == "okx":
        return f"{base}-{quote}-SWAP" if kind == "swap" else f"{base}-{quote}"
    if exchange == "bybit" and kind == "swap" and quote == "USDC":
        return f"{base}PERP"
    return f"{base}{quote}"


def kraken_pair(base: str, quote: str) -> str:
    """Kraken's key of a pair. Old assets have their X and Z prefixes only in old pairs: `XXBTZUSD`, but `XBTUSDT`."""
    both_old = base in _KRAKEN_ASSETS and (quote in _KRAKEN_MONEY or quote in _KRAKEN_ASSETS)
    if both_old and not (base == "DOGE" and quote in _KRAKEN_MONEY):
        return kraken_asset(base) + kraken_asset(quote)
    return kraken_altname(base) + kraken_altname(quote)


def kraken_asset(asset: str) -> str:
    return _KRAKEN_ASSETS.get(asset) or _KRAKEN_MONEY.get(asset, asset)


def kraken_altname(asset: str) -> str:
    return _KRAKEN_ALTNAMES.get(asset, asset)


def _price_decimals(exchange: str, price: float) -> int:
    """A tick of about a ten-thousandth of the price, coarser for expensive assets, as on real exchanges."""
    if price >= 10_000:  # noqa: PLR2004
        return 2 if exchange in ("binance", "coinbase") else 1
    if price >= 10:  # noqa: PLR2004
        return 2
    wanted = 4 - math.floor(math.log10(price)) - 1
    return wanted if price < 1e-5 else min(wanted, 8)  # noqa: PLR2004


def _volume_decimals(exchange: str, kind: Kind, price: float) -> int:
    if kind == "swap":
        return 3 if price >= 100 else 0  # noqa: PLR2004
    if exchange in ("kraken", "coinbase", "okx"):
        return 8
    return max(0, min(5, math.floor(math.log10(price)) + 1)) + (1 if exchange == "bybit" else 0)
