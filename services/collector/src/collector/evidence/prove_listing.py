"""Requests the evidence that a series begins with the listing of its market."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from collector.candles.page_requests import EARLIEST_SINCE_MS
from collector.candles.pages import SeriesCalendar
from collector.evidence.gather import EvidenceSource
from collector.evidence.listing import COARSE, ListingAnswers, ListingPlan, plan_listing, reason_not_proved
from collector.exchange.traits import ExchangeTraits
from contracts.coverage import Absence, AbsenceClass, Evidence, EvidenceKind, to_instant
from contracts.spans import Interval

_OTHER_COARSE: Final = 30
"""The number of coarse candles of another symbol before the first candle."""
_AFTER: Final = 3
_LEVEL: Final = 3
_VOLUME: Final = 5


@dataclass(frozen=True, kw_only=True)
class ListingRequest:
    """The series, and what is known about its market."""

    symbol: str
    timeframe: str
    first: int
    """The open time of the first verified candle, in milliseconds."""
    timeframes: Collection[str]
    """The timeframes of the exchange."""
    page: int
    """The number of candles that one request covers."""
    other_symbols: Sequence[str]
    created: int | None
    run_id: UUID


async def prove_listing(
    source: EvidenceSource, traits: ExchangeTraits, request: ListingRequest, now: Callable[[], datetime]
) -> Absence | str:
    """The absence of the time from 2010 to the first candle, or the reason why nothing proves it.

    Raises `ExchangeFailure`.
    """
    calendar = SeriesCalendar.of(traits, request.timeframe)
    coarse = [SeriesCalendar.of(traits, each) for each in COARSE if each in request.timeframes]
    plan = plan_listing(request.first, calendar, coarse, request.page)
    if plan is None:
        return "the history has too many pages in every timeframe of the exchange"
    prover = _Prover(source, traits, request, plan, calendar, SeriesCalendar.of(traits, plan.coarse))
    answers = await prover.ask()
    reason = reason_not_proved(plan, answers)
    return prover.absence(answers, now()) if reason is None else reason


@dataclass(frozen=True)
class _Prover:
    source: EvidenceSource
    traits: ExchangeTraits
    request: ListingRequest
    plan: ListingPlan
    calendar: SeriesCalendar
    coarse: SeriesCalendar

    async def ask(self) -> ListingAnswers:
        """The answers about the series and about another symbol. Other symbols are requested only if the series itself
        does not show that there are older candles.
        """
        plan, symbol = self.plan, self.request.symbol
        bucket_end = self.coarse.close_of(plan.history[1])
        after = await self._opens(symbol, self.calendar, (plan.first, self.calendar.shift(plan.first, _AFTER)))
        own = await self._opens(symbol, self.calendar, plan.stretch)
        own_coarse: list[int] = []
        other: list[int] = []
        other_coarse: list[int] = []
        if after and not own:
            own_coarse = await self._opens(symbol, self.coarse, (plan.history[0], bucket_end))
            near = self.calendar.shift(plan.first, -self.request.page), plan.first
            before = self.coarse.shift(plan.history[1], -_OTHER_COARSE), plan.history[1]
            for each in self.request.other_symbols:
                other = await self._opens(each, self.calendar, near, traded=True)
                other_coarse = await self._opens(each, self.coarse, before, traded=True) if other else []
                if other_coarse:
                    break
        return ListingAnswers(
            after=after,
            own=own,
            own_coarse=own_coarse,
            other=other,
            other_coarse=other_coarse,
            created=self.request.created,
        )

    async def _opens(self, symbol: str, calendar: SeriesCalendar, span: Interval, *, traded: bool = False) -> list[int]:
        """The open times of the candles of the span, ascending. With `traded`, candles without volume are left out."""
        since = max(span[0], EARLIEST_SINCE_MS)
        limit = (span[1] - since) // calendar.nominal_ms + 1
        rows = await self.source.candles(symbol, calendar.timeframe, since, limit)
        inside = [row for row in rows if row and type(row[0]) is int and span[0] <= row[0] < span[1]]
        return sorted({row[0] for row in inside if not traded or (len(row) > _VOLUME and (row[_VOLUME] or 0) > 0)})

    def absence(self, answers: ListingAnswers, now: datetime) -> Absence:
        plan, request = self.plan, self.request
        proof = (
            self._evidence(
                EvidenceKind.ANSWER, 1, request.timeframe, plan.stretch, f"no candle before {_day(plan.first)}", now
            ),
            self._evidence(EvidenceKind.ANSWER, 1, plan.coarse, plan.history, "no candle", now),
            self._evidence(
                EvidenceKind.ALL_SYMBOLS,
                _LEVEL,
                f"another symbol, {request.timeframe} and {plan.coarse}",
                plan.stretch,
                f"{len(answers.other)} and {len(answers.other_coarse)} candles from before the first one",
                now,
            ),
        )
        return Absence(
            start=to_instant(EARLIEST_SINCE_MS),
            end=to_instant(plan.first),
            absence_class=AbsenceClass.BEFORE_LISTING,
            evidence=f"the first candle opens at {_day(plan.first)}; the exchange has older candles of other symbols, "
            "and none of this one",
            level=_LEVEL,
            proof=proof,
        )

    def _evidence(
        self, kind: EvidenceKind, level: int, what: str, span: Interval, answered: str, now: datetime
    ) -> Evidence:
        asked = f"{what} from {_day(span[0])} to {_day(span[1])}"
        return Evidence(level=level, kind=kind, asked=asked, answered=answered, at=now, run_ids=(self.request.run_id,))


def _day(instant: int) -> str:
    return f"{to_instant(instant):%Y-%m-%d %H:%M} UTC"
