"""Whether a response contains a list of candles.

ccxt reads a missing field as an empty list. So its result is the same for `{"unexpected": 1}` and `{"candles": []}`.
"""

from collections.abc import Iterator
from typing import Any

from collector.exchange.traits import ANY_KEY

_SEARCH_DEPTH = 4
"""The number of nested objects that are searched for a list if the exchange's path is not known."""


def is_list_of_candles(path: tuple[str, ...] | None, body: Any) -> bool:
    """Whether the JSON `body` has a list at `path`, as in `ExchangeTraits.candle_list_path`.

    If the path is None, any list within the body is enough.
    """
    found = _values_within(body, _SEARCH_DEPTH) if path is None else _values_at(path, body)
    return any(isinstance(value, list) for value in found)


def _values_at(path: tuple[str, ...], body: Any) -> Iterator[Any]:
    if not path:
        yield body
    elif isinstance(body, dict):
        key, *rest = path
        for value in body.values() if key == ANY_KEY else (body.get(key),):
            yield from _values_at(tuple(rest), value)


def _values_within(body: Any, depth: int) -> Iterator[Any]:
    yield body
    if depth > 0 and isinstance(body, dict):
        for value in body.values():
            yield from _values_within(value, depth - 1)
