"""The exchange catalogue: the requests that ccxt builds for each exchange, and known facts about the answers.

The data are in `exchange_catalogue.json`, which `make generate` writes from the installed ccxt and from the
collector's table of traits. So a service that must not import ccxt has the same facts as the collector.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final

from contracts.symbols import reason_not_collected
from contracts.timeframes import timeframe_order

CATALOGUE_FILE: Final = "exchange_catalogue.json"


class MarketKind(StrEnum):
    """A kind of market. For each kind, ccxt uses different endpoints and limits."""

    SPOT = "spot"
    LINEAR = "linear"
    """Perpetual swaps settled in the quote currency, such as BTC/USDT:USDT."""
    INVERSE = "inverse"
    """Perpetual swaps settled in the base currency, such as BTC/USD:BTC."""


def market_kind(symbol: str) -> MarketKind | None:
    """The kind of a symbol's market. None for markets with an expiry date: futures and options."""
    base_quote, _, settle = symbol.partition(":")
    if not settle:
        return MarketKind.SPOT
    if reason_not_collected(symbol) is not None:
        return None
    return MarketKind.LINEAR if base_quote.endswith(f"/{settle}") else MarketKind.INVERSE


class RequestKind(StrEnum):
    """How a request for candles from `since` limits its answer. The catalogue determines it by comparing the requests
    that ccxt builds.
    """

    START_ONLY = "start_only"
    """The request has a start and no end. The answer is correct if the exchange sends the first rows after the
    start.
    """
    WINDOW = "window"
    """The request has a start, and an end that is some candles later."""
    START_TO_NOW = "start_to_now"
    """The request has a start, and the present as the end."""
    NO_SINCE = "no_since"
    """The request has no start. The answer has the newest rows for any `since`."""
    DAY_FILE = "day_file"
    """The request is for a file of one UTC day or year, for any limit."""
    END_ONLY = "end_only"
    """The request has no start, but an end that is some candles after `since`. The answer has the newest rows before
    this end.
    """
    UNKNOWN = "unknown"
    """The kind of market or the timeframe is not in the catalogue, so nothing is known about the request."""


class RowOrder(StrEnum):
    """Which rows an exchange sends if there are more rows after `since` than the limit allows."""

    OLDEST = "oldest"
    """The first rows after `since`."""
    NEWEST = "newest"
    """The last rows before now, or before the end of the request."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CandleRequest:
    """The request that ccxt builds for the candles of one kind of market and one timeframe."""

    kind: RequestKind
    page: int
    """The largest number of candles from `since` on that one request covers; at most 1000."""
    limit: int
    """The `limit` that ccxt needs to cover `page` candles. It is larger if ccxt counts the first candle twice."""
    until: bool = False
    """ccxt's parameter `until` changes the end of the request."""
    starts_late: bool = False
    """The start of the request is later than `since`, by less than one candle: ccxt rounds it up to a grid of its own.
    Without a correction the first candle is missing."""
    weight: float = 1.0
    """The share of one request in the rate limit: it takes `weight` times `rate_limit_ms`."""

    @property
    def honours_since(self) -> bool:
        """Whether the request names the start of the wanted candles."""
        return self.kind in {RequestKind.START_ONLY, RequestKind.WINDOW, RequestKind.START_TO_NOW}


@dataclass(frozen=True, slots=True)
class CannotCollect:
    """The candles of a kind of market and a timeframe can never be collected."""

    reason: str
    needs_credentials: bool = False


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One exchange."""

    name: str
    timeframes: tuple[str, ...]
    """The timeframes, from short to long."""
    requests: Mapping[MarketKind, Mapping[str, CandleRequest | CannotCollect]]
    """The requests by kind of market and timeframe. A kind that ccxt does not offer on this exchange is left out."""
    history_candles: int | None
    """The number of newest candles that can be read, per timeframe. None: no such limit is known."""
    order: RowOrder
    """The rows that the exchange sends for a request without an end."""
    fills_silence: bool | None
    """Whether the exchange sends a candle for a time without trades. None: unknown."""
    candle_lengths: Mapping[str, int]
    """The real length of candles in milliseconds, by timeframe, if it differs from the name of the timeframe."""
    rate_limit_ms: float | None
    """ccxt's time between two requests of weight 1, in milliseconds. None: unknown."""
    tape_weight: Mapping[MarketKind, float]
    """The weight of one request for 1000 trades from any time on, by kind of market. Only for kinds whose trades have
    sequential ids.
    """
    trades_since: frozenset[MarketKind]
    """The kinds of markets for which ccxt requests trades from a time on. For other kinds, it requests the newest."""
    known: bool
    """Whether facts about the answers of this exchange are known, beside the requests of ccxt."""

    def request(self, kind: MarketKind | None, timeframe: str) -> CandleRequest | CannotCollect | None:
        """The request for this kind of market and this timeframe. None if ccxt does not offer them."""
        return None if kind is None else self.requests.get(kind, {}).get(timeframe)

    @property
    def needs_credentials(self) -> bool:
        """Whether ccxt refuses every request for candles without the keys of an account."""
        requests = [each for by_timeframe in self.requests.values() for each in by_timeframe.values()]
        return bool(requests) and all(isinstance(each, CannotCollect) and each.needs_credentials for each in requests)

    def newest_readable(self, kind: MarketKind | None, timeframe: str) -> int | None:
        """The number of newest candles that can be read. Older candles cannot be read. None: no such limit is known."""
        request = self.request(kind, timeframe)
        limits = [] if self.history_candles is None else [self.history_candles]
        if isinstance(request, CandleRequest) and not request.until:
            only_newest = self.order is RowOrder.NEWEST and request.kind is RequestKind.START_ONLY
            if only_newest or request.kind is RequestKind.NO_SINCE:
                limits.append(request.page)
        return min(limits, default=None)


@dataclass(frozen=True, slots=True)
class ExchangeCatalogue:
    """All exchanges with candles, by their id in ccxt."""

    ccxt_version: str
    exchanges: Mapping[str, CatalogueEntry]


@cache
def load_catalogue() -> ExchangeCatalogue:
    raw = json.loads(files("contracts").joinpath(CATALOGUE_FILE).read_text(encoding="utf-8"))
    return ExchangeCatalogue(raw["ccxt"], {key: _entry(value) for key, value in raw["exchanges"].items()})


def _entry(raw: Mapping[str, Any]) -> CatalogueEntry:
    requests = {
        MarketKind(kind): {
            timeframe: _request(group) for group in groups for timeframe in str(group["timeframes"]).split()
        }
        for kind, groups in raw["requests"].items()
    }
    timeframes = {timeframe for each in requests.values() for timeframe in each}
    return CatalogueEntry(
        name=raw["name"],
        timeframes=tuple(sorted(timeframes, key=timeframe_order)),
        requests=requests,
        history_candles=raw.get("history_candles"),
        order=RowOrder(raw.get("order", RowOrder.UNKNOWN)),
        fills_silence=raw.get("fills_silence"),
        candle_lengths=raw.get("candle_lengths", {}),
        rate_limit_ms=raw.get("rate_limit_ms"),
        tape_weight={MarketKind(kind): weight for kind, weight in raw.get("tape_weight", {}).items()},
        trades_since=frozenset(map(MarketKind, raw.get("trades_since", ()))),
        known=bool(raw.get("known")),
    )


def _request(group: Mapping[str, Any]) -> CandleRequest | CannotCollect:
    if (reason := group.get("cannot_collect")) is not None:
        return CannotCollect(reason, bool(group.get("needs_credentials")))
    page = group["page"]
    flags = (bool(group.get("until")), bool(group.get("starts_late")))
    return CandleRequest(
        RequestKind(group["request"]), page, group.get("limit", page), *flags, group.get("weight", 1.0)
    )
