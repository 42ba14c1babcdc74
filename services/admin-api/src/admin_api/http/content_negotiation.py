"""Chooses the media type of a response by the request's Accept header (RFC 9110, section 12.5.1)."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

VARY: Final[Mapping[str, str]] = {"Vary": "Accept"}
"""The header Vary for every response whose type depends on Accept, so that caches store each type separately."""


class _Range(NamedTuple):
    """One part of an Accept header, such as `text/*;q=0.5`."""

    name: str
    quality: float
    position: int


def preferred(accept: str, offers: Sequence[str]) -> str:
    """The offered media type with the highest quality value.

    If several have the same value, the first one in the header wins, then the first one in `offers`. If the header
    accepts none of them, the result is the first offer, which is more useful than a 406. Parameters other than `q` are
    ignored. A malformed `q` counts as 0.
    """
    ranges = [_range(part, position) for position, part in enumerate(accept.lower().split(","))]

    def rank(offer: str) -> tuple[float, int]:
        for name in (offer, f"{offer.partition('/')[0]}/*", "*/*"):  # the most specific range decides
            found = [(each.quality, -each.position) for each in ranges if each.name == name]
            if found:
                quality, position = max(found)
                return (quality, position) if quality > 0 else _REFUSED
        return _REFUSED

    return max(offers, key=rank)


_REFUSED: Final = (0.0, 0)


def _range(part: str, position: int) -> _Range:
    name, *parameters = (piece.strip() for piece in part.split(";"))
    quality = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    return _Range(name, _number(quality), position)


def _number(quality: str) -> float:
    try:
        number = float(quality)
    except ValueError:
        return 0.0
    return number if 0 <= number <= 1 else 0.0  # the result for "nan" is also 0
