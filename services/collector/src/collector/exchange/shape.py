"""Whether an answer has a list of candles at all.

ccxt reads a missing field as an empty list, so `{"unexpected": 1}` and `{"candles": []}` look the same behind it.
"""

from typing import Any, Final

_PATHS: Final[dict[str, tuple[str, ...]]] = {
    "binance": (),
    "bybit": ("result", "list"),
    "coinbase": ("candles",),
    "coinbaseexchange": (),
    "okx": ("data",),
}
"""Where an exchange's list of candles is. Kraken's carries the pair's own name and is found by its shape."""


def is_list_of_candles(exchange: str, body: Any) -> bool:
    """Of exchanges that we do not know the shape of, any list will do."""
    if exchange == "kraken":
        result = body.get("result") if isinstance(body, dict) else None
        return isinstance(result, dict) and any(isinstance(value, list) for value in result.values())
    path = _PATHS.get(exchange)
    if path is None:
        return _holds_list(body, depth=4)
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return isinstance(body, list)


def _holds_list(body: Any, *, depth: int) -> bool:
    if isinstance(body, list):
        return True
    return depth > 0 and isinstance(body, dict) and any(_holds_list(each, depth=depth - 1) for each in body.values())
