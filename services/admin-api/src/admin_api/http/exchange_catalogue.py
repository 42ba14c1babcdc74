"""Checks by the exchange catalogue: refusals of series that can never be collected, and warnings about losses."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from admin_api.http.errors import FieldError, InvalidInput
from contracts import exchange_catalogue
from contracts.exchange_catalogue import CannotCollect, CatalogueEntry, MarketKind, market_kind
from contracts.symbols import reason_not_collected
from contracts.timeframes import DAY_MS, HOUR_MS, shortest_length

_EXAMPLES: Final = ("binance", "bybit", "coinbase", "kraken", "okx")
_MINUTE_MS: Final = 60_000


@dataclass(frozen=True)
class Catalogue:
    """The exchanges that offer candles, and the subset that this installation allows."""

    exchanges: Mapping[str, CatalogueEntry]
    """The keys are ccxt's exchange ids."""
    allowed: frozenset[str] = frozenset()
    """The setting EXCHANGES_ALLOWED; empty if all exchanges are allowed."""

    def is_allowed(self, exchange: str) -> bool:
        return not self.allowed or exchange in self.allowed

    def require_collectable(self, exchange: str, symbol: str, timeframes: Sequence[str]) -> None:
        """Raises `InvalidInput` if one of these series can never be collected. Every change of configs calls this."""
        entry = self.exchanges.get(exchange)
        if entry is None:
            raise InvalidInput.of([FieldError("#/exchange", self.unknown_exchange(exchange))])
        if not self.is_allowed(exchange):
            detail = f"{exchange} is not allowed here; EXCHANGES_ALLOWED permits {', '.join(sorted(self.allowed))}"
            raise InvalidInput.of([FieldError("#/exchange", detail)])
        errors = [*_timeframe_errors(exchange, entry, symbol, timeframes), *_symbol_errors(exchange, entry, symbol)]
        if errors:
            raise InvalidInput.of(errors)

    def unknown_exchange(self, exchange: str) -> str:
        """The reason for an error about an unknown exchange, with similar ids."""
        close = difflib.get_close_matches(exchange.lower(), self.exchanges, n=3, cutoff=0.6)
        hint = (
            f"did you mean {' or '.join(close)}?"
            if close
            else f"use ccxt's id, such as {', '.join(_EXAMPLES)} ({len(self.exchanges)} ids are known)"
        )
        return f"{exchange!r} is not an exchange that offers candles through ccxt; {hint}"


def load_catalogue(allowed: frozenset[str] = frozenset()) -> Catalogue:
    return Catalogue(exchange_catalogue.load_catalogue().exchanges, allowed)


def _timeframe_errors(
    exchange: str, entry: CatalogueEntry, symbol: str, timeframes: Sequence[str]
) -> Iterator[FieldError]:
    for index, timeframe in enumerate(timeframes):
        request = entry.request(market_kind(symbol), timeframe)
        if timeframe not in entry.timeframes:
            detail = f"{exchange} has no {timeframe!r} candles; it offers {', '.join(entry.timeframes)}"
            yield FieldError(f"#/timeframes/{index}", detail)
        elif isinstance(request, CannotCollect):
            yield FieldError(f"#/timeframes/{index}", _cannot_collect(exchange, timeframe, request))


def _cannot_collect(exchange: str, timeframe: str, refusal: CannotCollect) -> str:
    detail = f"the {timeframe} candles of {exchange} cannot be collected: {refusal.reason}"
    return f"{detail} (Candlekeep sends no credentials)" if refusal.needs_credentials else detail


def _symbol_errors(exchange: str, entry: CatalogueEntry, symbol: str) -> Iterator[FieldError]:
    if (reason := reason_not_collected(symbol)) is not None:
        yield FieldError("#/symbol", reason)
    elif (kind := market_kind(symbol)) is not None and not entry.requests.keys() & _same_markets(kind):
        market, other = ("spot markets", "swaps") if kind is MarketKind.SPOT else ("swaps", "spot markets")
        yield FieldError("#/symbol", f"{exchange} has no {market} in ccxt, only {other}")


def _same_markets(kind: MarketKind) -> frozenset[MarketKind]:
    """Ccxt does not always say which swaps an exchange has, so linear and inverse swaps count as one."""
    spot = frozenset({MarketKind.SPOT})
    return spot if kind is MarketKind.SPOT else frozenset(MarketKind) - spot


def loss_warnings(exchange: str, symbol: str, timeframes: Iterable[str], interval_minutes: int) -> list[str]:
    """Warnings about series that lose candles between two runs, because the exchange sends only the newest ones."""
    entry = exchange_catalogue.load_catalogue().exchanges.get(exchange)
    if entry is None:
        return []
    found = []
    for timeframe in timeframes:
        candles = entry.newest_readable(market_kind(symbol), timeframe)
        # The run reads the last known candle again, and the newest candle is still open.
        longest = None if candles is None else (candles - 2) * shortest_length(timeframe)
        if longest is not None and interval_minutes * _MINUTE_MS > longest:
            found.append(
                f"{timeframe}: {exchange} sends only the newest {candles} candles ({duration_text(longest)}), so "
                f"candles are lost between runs; set interval_minutes to {longest // _MINUTE_MS} or less"
            )
    return found


def duration_text(milliseconds: int) -> str:
    """A duration in words, rounded down: 90 minutes, 12 hours, 5 days."""
    for unit, length, least in (("days", DAY_MS, 2 * DAY_MS), ("hours", HOUR_MS, 2 * HOUR_MS)):
        if milliseconds >= least:
            return f"{milliseconds // length} {unit}"
    return f"{milliseconds // _MINUTE_MS} minutes"
