"""Suggestions ("did you mean") for symbols that an exchange does not have. Pure."""

from collections.abc import Iterable
from typing import Final

_MAX_HINTS: Final = 3


def similar_symbols(symbol: str, known: Iterable[str]) -> list[str]:
    """Up to three known symbols that differ from `symbol` only by case, by separators, or by the settle currency.
    Those with the same settle currency come first.
    """
    wanted, wanted_pair = _plain(symbol), _plain(symbol.partition(":")[0])
    same = sorted(each for each in known if _plain(each) == wanted)
    same_pair = sorted(each for each in known if _plain(each.partition(":")[0]) == wanted_pair and each not in same)
    # A dated future of the same pair is no suggestion, because it cannot be collected either.
    same_pair = [each for each in same_pair if "-" not in each.partition(":")[2]]
    return [each for each in (*same, *same_pair) if each != symbol][:_MAX_HINTS]


def did_you_mean(symbol: str, known: Iterable[str]) -> str:
    """A question to append to an error message; empty if no known symbol is similar."""
    hints = similar_symbols(symbol, known)
    return f". Did you mean {' or '.join(hints)}?" if hints else ""


def _plain(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())
