"""The other symbols of an exchange that show whether its candle endpoint works. Pure."""

from collections.abc import Collection
from typing import Final

_BASES: Final = ("BTC", "ETH", "SOL", "XRP", "LTC", "DOGE")
"""The bases of pairs that are traded in every minute on most exchanges, the busiest first."""
_QUOTES: Final = ("USDT", "USD", "USDC", "EUR")


def other_symbols(symbol: str, listed: Collection[str], count: int = 3) -> tuple[str, ...]:
    """At most `count` other listed symbols that are traded often and are of the same kind as `symbol`.

    The pairs with the quote of `symbol` come first. Their settle currency is the settle currency of `symbol`, or the
    quote.
    """
    pair, _, settle = symbol.partition(":")
    own_quote = pair.partition("/")[2]
    quotes = dict.fromkeys((own_quote, *_QUOTES))
    ends = [f"/{quote}:{settle}" if settle else f"/{quote}" for quote in quotes]
    found = [base + end for end in ends for base in _BASES if base + end in listed]
    return tuple(each for each in found if each != symbol)[:count]
