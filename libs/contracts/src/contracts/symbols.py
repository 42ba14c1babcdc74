"""The kind of a market, from its unified symbol in ccxt. Pure."""

import re
from datetime import date
from typing import Final

_DATED: Final = re.compile(r"(?P<settle>[^-]+)-(?P<year>\d\d)(?P<month>\d\d)(?P<day>\d\d)(?P<option>-.+)?", re.ASCII)
_COLLECTED: Final = "Candlekeep collects spot markets (BASE/QUOTE) and perpetual swaps (BASE/QUOTE:SETTLE)"


def kind_of(symbol: str) -> str:
    """`swap` if the symbol names a settle currency, otherwise `spot`."""
    return "swap" if ":" in symbol else "spot"


def reason_not_collected(symbol: str) -> str | None:
    """The reason why markets with this symbol cannot be collected. None if the symbol belongs to a spot market or a
    perpetual swap.

    `BTC/USD:BTC-240628` is a dated future, and `BTC/USD:BTC-240628-60000-C` an option.
    """
    settle = symbol.partition(":")[2]
    dated = _DATED.fullmatch(settle)
    if dated is None:
        return None
    kind = "an option" if dated["option"] else "a dated future"
    try:
        on = date(2000 + int(dated["year"]), int(dated["month"]), int(dated["day"]))
        expiry = f" that expires on {on.isoformat()}"
    except ValueError:  # 240299 is not a date
        expiry = ""
    return f"{symbol} is {kind}{expiry}; {_COLLECTED}"


def reason_type_not_collected(symbol: str, market_type: str) -> str:
    """The reason for a market whose type only the exchange's list of markets shows, such as `index`."""
    return f"{symbol} is a market of the type {market_type}; {_COLLECTED}"
