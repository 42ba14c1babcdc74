"""Decides the class of each part of a hole from all evidence about it. Pure: the time is an argument.

A class needs evidence of at least its minimum level. An empty answer is level 1, no matter how often it is repeated.
This module never gives `before_listing` or `delisted`: see `prove_listing`, and the lists of markets.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from collector.candles.pages import SeriesCalendar
from collector.evidence.incidents import Incident
from collector.evidence.sources import (
    Amounts,
    Trade,
    has_more_volume,
    jumps,
    silent_beside_coarser_candle,
    silent_between_neighbours,
    silent_between_trades,
    traded_periods,
)
from contracts.coverage import (
    ANSWERED_CLASSES,
    MINIMUM_LEVELS,
    Absence,
    AbsenceClass,
    Evidence,
    EvidenceKind,
    span_of,
)
from contracts.spans import Interval, Intervals, intersect, subtract, union

CHECK_AGAIN_AFTER: Final = timedelta(days=1)
"""The time after which provisional and unknown absences are checked again."""

RESTORED_WITHIN: Final = timedelta(days=7)
"""Candles that an exchange has lost are checked again until they are this old. Exchanges restore some lost candles, and
a candle endpoint can be hours behind.
"""

PROVED_LEVEL: Final = 4
"""A final class with evidence below this level is provisional."""


class Answer(NamedTuple):
    """One answer of the candle endpoint for the series."""

    opens: tuple[int, ...]
    """The open times of its candles, in milliseconds."""
    evidence: Evidence


class CoarserCandle(NamedTuple):
    """A candle of a coarser timeframe, and the finer candles of the series inside it."""

    candle: Amounts
    bucket: Interval
    finer: tuple[Amounts, ...]
    evidence: Evidence


class Tape(NamedTuple):
    """Trades around the hole, from an exchange with sequential trade ids."""

    trades: tuple[Trade, ...]
    evidence: Evidence


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """All requests about a hole of one series, with their answers."""

    omits: bool = False
    """Whether a document says that the exchange leaves out periods without trades, and no answer contradicts this."""
    omits_because: str = ""
    """The habit that the answers of the exchange show, in words."""
    answers: Sequence[Answer] = ()
    coarser: Sequence[CoarserCandle] = ()
    tapes: Sequence[Tape] = ()
    incidents: Sequence[Incident] = ()
    traded: Intervals = ()
    """Periods with a trade of the symbol, in addition to those that the tapes show."""
    others_traded: Intervals = ()
    """The time in which another symbol of the exchange has candles. Only for this time it is known that the candle
    endpoint works.
    """


class Finding(NamedTuple):
    """A part of a hole with one class."""

    span: Interval
    absence_class: AbsenceClass
    level: int
    proof: tuple[Evidence, ...]


def findings(hole: Interval, gathered: Gathered, calendar: SeriesCalendar) -> list[Finding]:
    """The parts of the hole by class, ascending. They cover the whole hole."""
    found: list[Finding] = []
    open_time: Intervals = (hole,)
    for span, absence_class, proof in _by_strength(hole, gathered, calendar):
        for part in intersect(open_time, [span]):
            finding = _finding(part, absence_class, proof)
            if finding.absence_class is absence_class:
                found.append(finding)
                open_time = subtract(open_time, [part])
    asked = tuple(each.evidence for each in gathered.answers)
    found += [_finding(part, AbsenceClass.UNKNOWN, asked) for part in open_time]
    return sorted(found)


_Claim = tuple[Interval, AbsenceClass, tuple[Evidence, ...]]


def _by_strength(hole: Interval, gathered: Gathered, calendar: SeriesCalendar) -> Iterable[_Claim]:
    """The claims of all sources, the strongest source first.

    A period with a known trade never gets a class that means "no trade".
    """
    of_tapes = (each for tape in gathered.tapes for each in traded_periods(hole, tape.trades, calendar))
    traded = union([*gathered.traded, *of_tapes])
    # There was a trade in such a candle, so the exchange was not closed during the whole candle.
    traded_somewhere = [each.bucket for each in gathered.coarser if has_more_volume(each.candle, each.finer)]
    by_ids = [
        (subtract(silent_between_trades(hole, tape.trades, calendar), traded), (_at_level(tape.evidence, 5),))
        for tape in gathered.tapes
    ]
    tradeless = union(span for silent, _ in by_ids for span in silent)
    for incident in gathered.incidents:
        for piece in incident.pieces:
            if piece.absence_class is AbsenceClass.OUTAGE:
                closed = subtract([piece.span], [*traded, *traded_somewhere])
                yield from _claims(closed, piece.absence_class, piece.proof)
            elif piece.absence_class in ANSWERED_CLASSES:
                # another symbol was traded, and this symbol was not
                yield from _claims(subtract([piece.span], tradeless), piece.absence_class, piece.proof)
    for silent, proof in by_ids:
        yield from _claims(silent, AbsenceClass.NO_TRADE, proof)
    # If ids jump, either a trade is missing, or the exchange skipped an id. A coarser candle may lack the same trade.
    traded = union([*traded, *(span for tape in gathered.tapes for span in jumps(hole, tape.trades, calendar))])
    for coarser in gathered.coarser:
        silent = silent_beside_coarser_candle(hole, coarser.candle, coarser.bucket, coarser.finer, calendar)
        silent = _while_others_traded(subtract(silent, traded), gathered.others_traded)
        yield from _claims(silent, AbsenceClass.NO_TRADE, (_at_level(coarser.evidence, 4),))
    for answer in gathered.answers:
        silent = silent_between_neighbours(hole, answer.opens, calendar, omits=gathered.omits)
        silent = _while_others_traded(subtract(silent, traded), gathered.others_traded)
        answered = "; ".join(filter(None, (answer.evidence.answered, gathered.omits_because)))
        changes = {"kind": EvidenceKind.NEIGHBOURS, "level": 3, "answered": answered}
        evidence = answer.evidence.model_copy(update=changes)
        yield from _claims(silent, AbsenceClass.NO_TRADE, (evidence,))


def _while_others_traded(silent: Intervals, others: Intervals) -> Intervals:
    """The silent time in which another symbol has candles. Without this condition, lost candles of all symbols could
    look like silence: the same trades may be missing from coarser candles, and the answers continue after the lost
    stretch.
    """
    return intersect(silent, others)


def _claims(spans: Intervals, absence_class: AbsenceClass, proof: tuple[Evidence, ...]) -> Iterable[_Claim]:
    return ((span, absence_class, proof) for span in spans)


def _at_level(evidence: Evidence, level: int) -> Evidence:
    return evidence.model_copy(update={"level": level})


def _finding(span: Interval, absence_class: AbsenceClass, proof: tuple[Evidence, ...]) -> Finding:
    """The finding. Its class is unknown if the evidence is below the minimum level of the claimed class."""
    level = max((each.level for each in proof), default=0)
    if level < MINIMUM_LEVELS[absence_class]:
        absence_class = AbsenceClass.UNKNOWN
    return Finding(span, absence_class, level, proof)


def to_absence(finding: Finding, now: datetime) -> Absence:
    """The absence as an event states it."""
    span, words = span_of(finding.span), "; ".join(f"{each.asked}: {each.answered}" for each in finding.proof)
    final = finding.absence_class in ANSWERED_CLASSES and finding.level >= PROVED_LEVEL
    if finding.absence_class is AbsenceClass.LOST_AT_SOURCE and now < span.end + RESTORED_WITHIN:
        final = False
    return Absence(
        start=span.start,
        end=span.end,
        absence_class=finding.absence_class,
        evidence=words[:500] or "nothing was asked",
        level=finding.level,
        proof=finding.proof[:8],
        recheck_at=None if final else now + CHECK_AGAIN_AFTER,
    )
