"""The absences of many series, grouped into incidents. Pure.

An incident is a stretch in which no symbol of an exchange has a verified candle and several symbols are silent. Only a
witness outside the candle endpoint can distinguish an outage from candles that the exchange has lost.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple

from contracts.coverage import AbsenceClass

SILENT_CLASSES: Final = frozenset(
    {AbsenceClass.UNKNOWN, AbsenceClass.NO_TRADE, AbsenceClass.OUTAGE, AbsenceClass.LOST_AT_SOURCE}
)
"""The classes of spans for which candles were requested and the exchange sent none."""

FEWEST_SYMBOLS: Final = 3
"""The smallest number of silent symbols that counts as a silence of the exchange."""

EXAMPLES: Final = 20


class Silence(NamedTuple):
    """The equal absences of some series: same span, class and level."""

    start: datetime
    end: datetime
    absence_class: AbsenceClass
    level: int
    symbols: int
    """The number of series. The absences of one series do not overlap, so numbers can be added."""
    examples: tuple[str, ...]
    """Some of their symbols."""
    proof: Sequence[Mapping[str, Any]] = ()
    """The requests and answers of one of them."""


class Piece(NamedTuple):
    """A part of an incident with one class."""

    start: datetime
    end: datetime
    absence_class: AbsenceClass
    level: int
    """The highest level of the evidence for the class. It is 1 for unknown, because there are only empty answers."""
    proof: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Grouped:
    """One incident."""

    start: datetime
    end: datetime
    symbols: int
    """The largest number of symbols that were silent at the same time."""
    examples: tuple[str, ...]
    pieces: tuple[Piece, ...]
    """The pieces, ascending. They cover the incident. Neighbours differ in class."""

    @property
    def absence_class(self) -> AbsenceClass:
        """The class of all pieces; unknown if they differ."""
        classes = {each.absence_class for each in self.pieces}
        return classes.pop() if len(classes) == 1 else AbsenceClass.UNKNOWN


def incidents_in(
    start: datetime, end: datetime, silences: Iterable[Silence], fewest: int = FEWEST_SYMBOLS
) -> list[Grouped]:
    """The incidents of a span in which no symbol has a verified candle, ascending."""
    clipped = [
        each._replace(start=max(each.start, start), end=min(each.end, end))
        for each in silences
        if each.start < end and each.end > start
    ]
    borders = sorted({border for each in clipped for border in (each.start, each.end)})
    found: list[list[tuple[Piece, list[Silence]]]] = []
    waiting = sorted(clipped, key=lambda each: each.start, reverse=True)
    covering: list[Silence] = []
    for first, last in pairwise(borders):
        covering = [each for each in covering if each.end > first]
        while waiting and waiting[-1].start == first:
            covering.append(waiting.pop())
        if sum(each.symbols for each in covering) < fewest:
            continue
        part = _piece(first, last, covering), covering
        if found and found[-1][-1][0].end == first:
            found[-1].append(part)
        else:
            found.append([part])
    return [_grouped(parts) for parts in found]


def _piece(start: datetime, end: datetime, covering: Sequence[Silence]) -> Piece:
    """The class of a piece. A witness that shows trades has priority over a witness that says that the exchange was
    closed. The silence of one symbol proves nothing about the others.
    """
    for decided in (AbsenceClass.LOST_AT_SOURCE, AbsenceClass.OUTAGE):
        said = [each for each in covering if each.absence_class is decided]
        if said:
            strongest = max(said, key=lambda each: each.level)
            return Piece(start, end, decided, strongest.level, strongest.proof)
    return Piece(start, end, AbsenceClass.UNKNOWN, 1, ())


def _grouped(parts: Sequence[tuple[Piece, list[Silence]]]) -> Grouped:
    pieces: list[Piece] = []
    for piece, _ in parts:
        if pieces and pieces[-1].absence_class is piece.absence_class:
            pieces[-1] = pieces[-1]._replace(end=piece.end, level=max(pieces[-1].level, piece.level))
        else:
            pieces.append(piece)
    names = dict.fromkeys(name for _, covering in parts for each in covering for name in each.examples)
    symbols = max(sum(each.symbols for each in covering) for _, covering in parts)
    return Grouped(pieces[0].start, pieces[-1].end, symbols, tuple(sorted(names))[:EXAMPLES], tuple(pieces))
