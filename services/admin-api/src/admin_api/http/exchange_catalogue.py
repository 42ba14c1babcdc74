"""Which exchanges offer candles, and in which timeframes: ccxt's knowledge, generated, so that ccxt stays out."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from admin_api.http.errors import FieldError, InvalidInput

_FAMOUS = ("binance", "bybit", "coinbase", "kraken", "okx")


@dataclass(frozen=True)
class Exchange:
    """What one exchange offers."""

    name: str
    timeframes: tuple[str, ...]
    page_limit: int | None
    """Candles per answer at most; None where ccxt does not say."""


Catalogue = Mapping[str, Exchange]
"""By ccxt's exchange id."""


def load_catalogue() -> Catalogue:
    raw = json.loads(files("admin_api").joinpath("catalogue.json").read_text(encoding="utf-8"))
    return {
        key: Exchange(entry["name"], tuple(entry["timeframes"]), entry["page_limit"])
        for key, entry in raw["exchanges"].items()
    }


def require_offered(catalogue: Catalogue, exchange: str, timeframes: Sequence[str]) -> None:
    """Raise `InvalidInput` unless the exchange is known and offers all of these timeframes."""
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
        else f"use ccxt's id, such as {', '.join(_FAMOUS)} ({len(catalogue)} are known)"
    )
    return f"{exchange!r} is not an exchange that offers candles through ccxt; {hint}"
