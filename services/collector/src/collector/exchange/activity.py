"""Reads the trade count and the quote volume of an exchange's raw row. ccxt drops both values. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan
from typing import Any, Final

from collector.exchange.traits import ExchangeTraits
from contracts.bounds import MAX_BIGINT
from contracts.exchange_catalogue import MarketKind, market_kind

Key = int | str
"""The place of a value in a raw row: an index of a list, or a key of an object."""

_MOST_TRADES: Final = MAX_BIGINT // 2
_NUMBERS_AND_TEXTS: Final = frozenset({int, float, str})
"""The types of valid values. A bool is no number."""


def parse_trades(value: object) -> int | None:
    """The number of trades. None without a value. Raises `ValueError` if the value is not a valid count."""
    if value is None:
        return None
    count = _number(value)
    if not (0 <= count <= _MOST_TRADES and count.is_integer()):
        raise ValueError(f"{value!r:.50} is no count of trades")
    return int(count)


def parse_quote_volume(value: object) -> float | None:
    """The volume in the quote currency.

    None without a value. Raises `ValueError` if the value is not a valid volume.
    """
    if value is None:
        return None
    volume = _number(value)
    if not 0 <= volume < inf:
        raise ValueError(f"{value!r:.50} is no volume")
    return volume


@dataclass(frozen=True)
class ActivityReader:
    """Reads both values of a raw row. A missing or invalid value is None, and never an error."""

    trades: Key | None
    quote_volume: Key | None
    on_invalid: Callable[[str], None]
    """Called with the name of a field whose value is invalid."""

    def read(self, row: object) -> tuple[int | None, float | None]:
        return (
            self._parsed("trades", parse_trades, _value(row, self.trades)),
            self._parsed("quote_volume", parse_quote_volume, _value(row, self.quote_volume)),
        )

    def _parsed(self, name: str, parse: Callable[[object], Any], value: object) -> Any:
        try:
            return parse(value)
        except ValueError:
            self.on_invalid(name)
            return None


def _value(row: object, key: Key | None) -> object:
    if isinstance(key, int) and isinstance(row, list | tuple):
        return row[key] if key < len(row) else None
    if isinstance(key, str) and isinstance(row, dict):
        return row.get(key)
    return None


def _number(value: object) -> float:
    if type(value) not in _NUMBERS_AND_TEXTS:
        return nan
    try:
        return float(value)  # type: ignore[arg-type] # one of these types
    except (ValueError, OverflowError):
        return nan


def row_reader(
    traits: ExchangeTraits, on_invalid: Callable[[str], None]
) -> Callable[[object, Any], tuple[int | None, float | None]] | None:
    """A function that reads both values of a raw row, given ccxt's market. None if the exchange sends neither value."""
    if not traits.raw_trades and not traits.raw_quote_volume:
        return None
    readers = {
        kind: ActivityReader(traits.raw_trades.get(kind), traits.raw_quote_volume.get(kind), on_invalid)
        for kind in MarketKind
    }

    def read(row: object, market: Any) -> tuple[int | None, float | None]:
        kind = market_kind(market["symbol"]) if isinstance(market, dict) else None
        return (None, None) if kind is None else readers[kind].read(row)

    return read
