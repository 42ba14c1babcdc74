"""The arithmetic of the ledger: which spans the events of a series verify, and which absences remain. Pure.

The ledger does not depend on the order of the events, and repeated events do not change it. Verified spans only grow.
Of several checks of an instant that is not verified, one is used: the check with a final class and the highest level of
evidence, or the latest of these. If no check has evidence, the latest check is used. A check that only says "unread" or
"unknown", without evidence, is treated as if it were a day older. So an unknown absence keeps its evidence if the next
run reads the same time without a result.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from contracts import spans
from contracts.candles import CandlesCollected
from contracts.coverage import ANSWERED_CLASSES, AbsenceClass, Span, to_milliseconds
from contracts.spans import Interval, Intervals
from contracts.timeframes import close_of, fixed_length
from contracts.vocabulary import CandleSource

EVIDENCE_LASTS: Final = timedelta(days=1)
"""How long the evidence for an unknown absence is used. It is requested again after this time."""

_UNDECIDED: Final = (AbsenceClass.UNREAD, AbsenceClass.UNKNOWN)

_RANKS: Final = {each: rank for rank, each in enumerate(AbsenceClass)}


class Check(NamedTuple):
    """A check that found an absence. Of several checks of an instant, the one with the greatest precedence is used."""

    at: datetime
    """The time of the exchange's response."""
    rank: int
    """The place of the class in `AbsenceClass`. Of two checks at the same time, the one with the later class in that
    list is more specific.
    """
    evidence: str
    run_id: UUID
    level: int = 0
    """The level of the evidence, from 0 to 7."""
    proof: str = ""
    """The requests and answers as JSON, in the form of `canonical`. Empty if there are none."""
    recheck_ms: int = 0
    """The time of the next check of the span, in milliseconds since the epoch. 0 if no time is set."""

    def precedence(self) -> tuple[object, ...]:
        """The sort key of checks. It begins with the level of a final class, so that later checks without evidence do
        not replace a proof.
        """
        says_little = self.absence_class in _UNDECIDED and self.level == 0
        counts_from = self.at - EVIDENCE_LASTS if says_little else self.at
        return (self.level if self.absence_class in ANSWERED_CLASSES else 0, counts_from, *self)

    @property
    def absence_class(self) -> AbsenceClass:
        return list(AbsenceClass)[self.rank]


class AbsentSpan(NamedTuple):
    """A span of absence, in milliseconds since the epoch."""

    start: int
    end: int
    check: Check
    first_seen: datetime
    """The time of the earliest check, of any class, that reported this span."""


class Rejection(NamedTuple):
    """A row that cannot be a candle, as one run reported it."""

    open_time: datetime
    row: str
    reason: str
    seen_at: datetime
    run_id: UUID


class Claims(NamedTuple):
    """The statements of the events of a batch about one series."""

    verified: Intervals
    absences: list[AbsentSpan]
    """The reported absences, which may overlap."""
    rejections: list[Rejection]
    from_trades: Intervals = ()
    """The part of `verified` that is verified only by candles from trades."""

    def adding(self, verified: Sequence[Interval]) -> "Claims":
        """These claims together with further verified spans."""
        if not verified:
            return self
        own = spans.subtract(self.from_trades, verified)
        return self._replace(verified=spans.union([*self.verified, *verified]), from_trades=own)

    def by_source(self) -> Iterator[tuple[Interval, bool]]:
        """The verified spans. The flag of each span says whether it is verified only by candles from trades."""
        for span in spans.subtract(self.verified, self.from_trades):
            yield span, False
        for span in self.from_trades:
            yield span, True


def claims_of(timeframe: str, opens: Sequence[int], events: Iterable[CandlesCollected]) -> Claims:
    """The claims of a series' events, whose rows open at `opens` (milliseconds since the epoch, ascending).

    A candle that lies outside the verified spans of its event verifies its own period. Events of version 1 have no
    verified spans.
    """
    vouched: list[Interval] = []
    built: list[Interval] = []
    absences: list[AbsentSpan] = []
    rejections: list[Rejection] = []
    for event in events:
        (built if event.source is CandleSource.TRADES else vouched).extend(map(Span.milliseconds, event.verified))
        if event.absences:
            absences += _absences_of(event)
        if event.rejected:
            rejections += _rejections_of(event)
    from_trades = spans.subtract(built, vouched) if built else ()
    verified = spans.union([*vouched, *built])
    if opens and not _contains(verified, opens[0], close_of(timeframe, opens[-1])):
        verified = spans.union([*verified, *_slots(timeframe, opens)])
    return Claims(verified, absences, rejections, from_trades)


def _absences_of(event: CandlesCollected) -> Iterator[AbsentSpan]:
    for each in event.absences:
        proof = canonical([one.model_dump(mode="json") for one in each.proof])
        again = 0 if each.recheck_at is None else to_milliseconds(each.recheck_at)
        rank = _RANKS[each.absence_class]
        check = Check(event.fetched_at, rank, each.evidence, event.run_id, each.level, proof, again)
        yield AbsentSpan(*each.milliseconds(), check, event.fetched_at)


def _rejections_of(event: CandlesCollected) -> Iterator[Rejection]:
    for each in event.rejected:
        yield Rejection(each.open_time, each.row, each.reason, event.fetched_at, event.run_id)


def canonical(proof: list[dict[str, Any]]) -> str:
    """The proof as JSON with sorted keys, so that equal proofs are equal texts. Empty for no proof."""
    return json.dumps(proof, sort_keys=True, separators=(",", ":"), ensure_ascii=False) if proof else ""


def remaining_absences(absences: Iterable[AbsentSpan], verified: Sequence[Interval]) -> list[AbsentSpan]:
    """The absences, ascending, after overlaps and verified time are removed. Neighbours with equal values are
    merged.
    """
    pieces: dict[tuple[Check, datetime], list[Interval]] = defaultdict(list)
    for interval, covering in _overlaps(absences):
        latest = max((each.check for each in covering), key=Check.precedence)
        pieces[latest, min(each.first_seen for each in covering)].append(interval)
    return sorted(
        AbsentSpan(start, end, check, first_seen)
        for (check, first_seen), intervals in pieces.items()
        for start, end in spans.subtract(intervals, verified)
    )


def _overlaps(absences: Iterable[AbsentSpan]) -> Iterator[tuple[Interval, list[AbsentSpan]]]:
    """The time divided at all starts and ends of absences. Each part has the absences that cover it; parts without
    absences are left out.
    """
    waiting = sorted((each for each in absences if each.start < each.end), key=lambda each: each.start, reverse=True)
    borders = sorted({border for each in waiting for border in (each.start, each.end)})
    covering: list[AbsentSpan] = []
    for start, end in itertools.pairwise(borders):
        covering = [each for each in covering if each.end > start]
        while waiting and waiting[-1].start == start:
            covering.append(waiting.pop())
        if covering:
            yield (start, end), covering


def _slots(timeframe: str, opens: Sequence[int]) -> Iterator[Interval]:
    """The periods of the candles that open at these times (ascending). Neighbours are merged."""
    length = fixed_length(timeframe)
    start = end = opens[0]
    for each in opens:
        if each > end:
            yield start, end
            start = each
        end = each + length if length is not None else close_of(timeframe, each)
    yield start, end


def _contains(intervals: Intervals, start: int, end: int) -> bool:
    return any(first <= start and end <= last for first, last in intervals)
