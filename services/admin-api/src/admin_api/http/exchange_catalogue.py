"""Checks against the exchange catalogue: exchanges and timeframes that ccxt knows."""

import difflib
from collections.abc import Mapping, Sequence

from admin_api.http.errors import FieldError, InvalidInput
from contracts import exchange_catalogue
from contracts.exchange_catalogue import CatalogueEntry

_EXAMPLES = ("binance", "bybit", "coinbase", "kraken", "okx")

Catalogue = Mapping[str, CatalogueEntry]
"""The keys are ccxt's exchange ids."""


def load_catalogue() -> Catalogue:
    return exchange_catalogue.load_catalogue().exchanges


def require_offered(catalogue: Catalogue, exchange: str, timeframes: Sequence[str]) -> None:
    """Raises `InvalidInput` if the exchange is unknown or does not offer one of the timeframes."""
    offered = catalogue.get(exchange)
    if offered is None:
        raise InvalidInput.of([FieldError("#/exchange", _unknown_exchange(catalogue, exchange))])
    errors = [
        FieldError(
            f"#/timeframes/{index}",
            f"{exchange} has no {timeframe!r} candles; it offers {', '.join(offered.timeframes)}",
        )
        for index, timeframe in enumerate(timeframes)
        if timeframe not in offered.timeframes
    ]
    if errors:
        raise InvalidInput.of(errors)


def _unknown_exchange(catalogue: Catalogue, exchange: str) -> str:
    close = difflib.get_close_matches(exchange.lower(), catalogue, n=3, cutoff=0.6)
    hint = (
        f"did you mean {' or '.join(close)}?"
        if close
        else f"use ccxt's id, such as {', '.join(_EXAMPLES)} ({len(catalogue)} ids are known)"
    )
    return f"{exchange!r} is not an exchange that offers candles through ccxt; {hint}"
