"""The exchange catalogue: exchanges and timeframes that ccxt knows. It is a generated file, so ccxt is not imported."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from admin_api.http.errors import FieldError, InvalidInput

_EXAMPLES = ("binance", "bybit", "coinbase", "kraken", "okx")


@dataclass(frozen=True)
class Exchange:
    """One exchange with its timeframes."""

    name: str
    timeframes: tuple[str, ...]
    page_limit: int | None
    """Maximum number of candles per response; None if ccxt does not state it."""


Catalogue = Mapping[str, Exchange]
"""The keys are ccxt's exchange ids."""


def load_catalogue() -> Catalogue:
    raw = json.loads(files("admin_api").joinpath("catalogue.json").read_text(encoding="utf-8"))
    return {
        key: Exchange(entry["name"], tuple(entry["timeframes"]), entry["page_limit"])
        for key, entry in raw["exchanges"].items()
    }


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
