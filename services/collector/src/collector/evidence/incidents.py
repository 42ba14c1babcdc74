"""Silence of all symbols of an exchange at the same time: one incident. Pure.

The candle endpoint alone cannot distinguish an outage from candles that the exchange has lost: in both cases every
answer is empty. Only a witness can. The trades of another exchange cannot be a witness, because it trades in both
cases.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import reduce
from typing import Final, NamedTuple

from contracts.coverage import AbsenceClass, Evidence
from contracts.spans import Interval, Intervals, intersect, subtract, union

FEWEST_SYMBOLS: Final = 3
"""The smallest number of silent symbols that counts as a silence of the exchange."""


class Statement(StrEnum):
    """The statement of a witness about an exchange."""

    CLOSED = "closed"
    """The exchange did not trade: its status said so, or its trade ids before and after the time are consecutive."""
    TRADED = "traded"
    """The exchange traded: there are trades, or a coarser candle with volume."""


class Witness(NamedTuple):
    """A source outside the candle endpoint, with its statement and the time of the statement."""

    statement: Statement
    span: Interval
    """The time of the statement. For `TRADED`, only the periods with trades."""
    evidence: Evidence
    symbol: str | None = None
    """The symbol that was traded."""


class Piece(NamedTuple):
    """A part of an incident with one class."""

    span: Interval
    absence_class: AbsenceClass
    proof: tuple[Evidence, ...]


class Incident(NamedTuple):
    """One stretch of silence of all symbols."""

    span: Interval
    symbols: tuple[str, ...]
    pieces: tuple[Piece, ...]
    """The pieces, ascending. They cover the whole span. Neighbours differ in class."""


def incidents(silences: Mapping[str, Intervals], witnesses: Iterable[Witness], silence: Evidence) -> list[Incident]:
    """The stretches in which every symbol is silent, ascending.

    `silences`: for each symbol of the exchange, the time for which the candle endpoint was asked and sent no rows.
    `silence`: the evidence for it, of level 1.
    """
    if len(silences) < FEWEST_SYMBOLS:
        return []
    together = reduce(intersect, silences.values())
    witnesses = list(witnesses)
    symbols = tuple(sorted(silences))
    return [Incident(each, symbols, _pieces(each, witnesses, silence)) for each in together]


def _pieces(span: Interval, witnesses: list[Witness], silence: Evidence) -> tuple[Piece, ...]:
    """Divide an incident into pieces. If one witness shows trades and another one says that the exchange was closed,
    the trades have priority.
    """
    traded = _said(Statement.TRADED, span, witnesses)
    closed = subtract(_said(Statement.CLOSED, span, witnesses), traded)
    open_time = subtract([span], [*traded, *closed])
    pieces = [
        *(Piece(each, AbsenceClass.LOST_AT_SOURCE, _proof(7, Statement.TRADED, each, witnesses)) for each in traded),
        *(Piece(each, AbsenceClass.OUTAGE, _proof(6, Statement.CLOSED, each, witnesses)) for each in closed),
        *(Piece(each, AbsenceClass.UNKNOWN, (silence,)) for each in open_time),
    ]
    return tuple(sorted(pieces, key=lambda piece: piece.span))


def _said(statement: Statement, span: Interval, witnesses: list[Witness]) -> Intervals:
    return intersect([span], union(each.span for each in witnesses if each.statement is statement))


def _proof(level: int, statement: Statement, span: Interval, witnesses: list[Witness]) -> tuple[Evidence, ...]:
    """The evidence of at most four witnesses, because an absence has at most eight pieces of evidence."""
    said = [each for each in witnesses if each.statement is statement and intersect([each.span], [span])]
    return tuple(each.evidence.model_copy(update={"level": level}) for each in said[:4])
