"""Requests the evidence about a hole from an exchange, and decides its class.

Requests: the candles around the hole, the next coarser candles, the candles of a few other symbols, and the exchange's
status. If trades can be requested from a given time, the trades of the symbol and of a busy symbol are also requested.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from itertools import pairwise
from typing import Any, Final, Protocol
from uuid import UUID

from collector.candles.pages import SeriesCalendar
from collector.evidence.decide import Answer, CoarserCandle, Gathered, findings, to_absence
from collector.evidence.incidents import FEWEST_SYMBOLS, Statement, Witness, incidents
from collector.evidence.sources import Amounts, silent_between_trades, traded_periods, whole_periods
from collector.evidence.tapes import Tapes, TradeSource
from collector.exchange.silence_habits import Habit, leaves_out_silence
from collector.exchange.traits import ExchangeTraits
from contracts.coverage import SETTLE_TIME, Absence, Evidence, EvidenceKind, to_instant
from contracts.spans import Interval, Intervals, intersect, subtract, union

COARSER: Final = ("1m", "5m", "15m", "1h", "4h", "1d")
"""Timeframes in ascending order. Each candle of a timeframe consists of whole candles of the timeframes before it."""

MAX_PERIODS: Final = 90
"""The longest hole for one call, in periods, so that each request fits into a page."""

_VOLUME: Final = 5


class EvidenceSource(TradeSource, Protocol):
    """The requests of one exchange. All of them raise `ExchangeFailure`."""

    async def candles(self, symbol: str, timeframe: str, since: int, limit: int) -> Sequence[Sequence[Any]]:
        """Rows as ccxt returns them: open time in milliseconds, open, high, low, close, volume."""

    async def closed(self, symbol: str) -> Intervals:
        """The time in which the exchange has stated that it was closed for this kind of market."""

    def habit(self, symbol: str, timeframe: str) -> Habit:
        """The habit that the answers for this kind of market and this timeframe show."""


@dataclass(frozen=True, kw_only=True)
class EvidenceRequest:
    """A hole of one series. It begins and ends between candles."""

    symbol: str
    timeframe: str
    hole: Interval
    other_symbols: tuple[str, ...]
    """Symbols of the same exchange that are traded often. Without them, little can be proved."""
    run_id: UUID


async def gather_evidence(
    source: EvidenceSource, traits: ExchangeTraits, request: EvidenceRequest, now: Callable[[], datetime]
) -> tuple[Absence, ...]:
    """The absences of the hole, ascending. They cover the whole hole, except for the periods that have a candle now.

    Raises `ExchangeFailure`, and `ValueError` for a hole of more than `MAX_PERIODS` periods.
    """
    calendar = SeriesCalendar.of(traits, request.timeframe)
    if calendar.shift(request.hole[0], MAX_PERIODS) < request.hole[1]:
        raise ValueError(f"a hole of more than {MAX_PERIODS} periods; split it")
    gatherer = _Gatherer(source, traits, request, calendar, now)
    gathered = await gatherer.gather()
    present = [(opens, calendar.close_of(opens)) for answer in gathered.answers for opens in answer.opens]
    return tuple(
        to_absence(found._replace(span=span), now())
        for found in findings(request.hole, gathered, calendar)
        for span in subtract([found.span], present)
    )


@dataclass
class _Gatherer:
    source: EvidenceSource
    traits: ExchangeTraits
    request: EvidenceRequest
    calendar: SeriesCalendar
    now: Callable[[], datetime]

    async def gather(self) -> Gathered:
        hole, symbol, timeframe = self.request.hole, self.request.symbol, self.request.timeframe
        wide = self._buckets()
        rows = await self._amounts(symbol, timeframe, wide)
        answers = [Answer(tuple(each.opens for each in rows), self._candle_evidence(rows, timeframe, wide))]
        others = {each: self._periods(await self._amounts(each, timeframe, hole)) for each in self._others()}
        requests = Tapes(self.source, self.traits, hole, self.calendar, self._evidence, self.now)
        tapes = await requests.by_ids(symbol)
        witnesses = [
            Witness(Statement.TRADED, span, tape.evidence, symbol)
            for tape in tapes
            for span in traded_periods(hole, tape.trades, self.calendar)
        ]
        silences: dict[str, Intervals] = {each: subtract([hole], shown) for each, shown in others.items()}
        silences[symbol] = subtract([hole], self._periods(rows))
        tradeless = [span for tape in tapes for span in silent_between_trades(hole, tape.trades, self.calendar)]
        known = union([*tradeless, *(each.span for each in witnesses)])
        witnesses += await self._traded(requests, silences, known)
        own = union(each.span for each in witnesses if each.symbol == symbol)
        witnesses += await self._closed()
        habit = self.source.habit(symbol, timeframe)
        silence = self._evidence(EvidenceKind.ALL_SYMBOLS, 1, "candles of all symbols", f"none of {len(silences)}")
        return Gathered(
            omits=leaves_out_silence(self.traits.fills_silence, habit),
            omits_because=f"{habit.left_out} answers left out periods, none had a row without volume",
            answers=answers,
            coarser=await self._coarser(rows, wide),
            tapes=tapes,
            incidents=incidents(silences, witnesses, silence),
            traded=own,
            others_traded=union(span for shown in others.values() for span in shown),
        )

    def _others(self) -> list[str]:
        return [each for each in self.request.other_symbols if each != self.request.symbol]

    def _next_coarser(self) -> str | None:
        return dict(pairwise(COARSER)).get(self.request.timeframe)

    def _buckets(self) -> Interval:
        """The hole, extended by a candle on each side and then to whole coarser candles."""
        start, end = self.calendar.shift(self.request.hole[0], -1), self.calendar.shift(self.request.hole[1], 1)
        if (coarser := self._next_coarser()) is None:
            return start, end
        calendar = SeriesCalendar.of(self.traits, coarser)
        return calendar.floor_open(start), calendar.close_of(calendar.floor_open(end - 1))

    async def _coarser(self, rows: Sequence[Amounts], wide: Interval) -> list[CoarserCandle]:
        if (timeframe := self._next_coarser()) is None:
            return []
        calendar = SeriesCalendar.of(self.traits, timeframe)
        found = []
        for candle in await self._amounts(self.request.symbol, timeframe, wide):
            bucket = candle.opens, calendar.close_of(candle.opens)
            if to_instant(bucket[1]) + SETTLE_TIME > self.now():
                continue  # trades can still be added to it
            finer = tuple(each for each in rows if bucket[0] <= each.opens < bucket[1])
            total = f"volume {candle.volume}, and {len(finer)} finer candles with {sum(each.volume for each in finer)}"
            asked = f"{timeframe} at {to_instant(candle.opens).isoformat()}"
            evidence = self._evidence(EvidenceKind.COARSER_CANDLE, 1, asked, total)
            found.append(CoarserCandle(candle, bucket, finer, evidence))
        return found

    async def _traded(self, tapes: Tapes, silences: Mapping[str, Intervals], known: Intervals) -> list[Witness]:
        """The trades while all symbols are silent: those of the symbol itself, and those of a symbol that is traded
        more often.

        `known`: the periods for which the ids of its trades say already whether the symbol was traded.
        """
        witnesses: list[Witness] = []
        symbols = [] if self.traits.sequential_trade_ids else [self.request.symbol]
        others = self._others()[:1] if len(silences) >= FEWEST_SYMBOLS else []
        together = subtract(reduce(intersect, silences.values()), known)
        for symbol in (*symbols, *others):
            silence = silences[symbol] if symbol in symbols else together
            found = await tapes.traded(symbol, silence)
            if found is not None:
                witnesses += [Witness(Statement.TRADED, each, found[1], symbol) for each in found[0]]
                together = subtract(together, found[0])
        return witnesses

    async def _closed(self) -> list[Witness]:
        """The whole periods of the hole in which the exchange has stated that it was closed."""
        spans = [
            each
            for span in await self.source.closed(self.request.symbol)
            for each in whole_periods(span, self.request.hole, self.calendar)
        ]
        evidence = self._evidence(EvidenceKind.WITNESS, 1, "the exchange's status, repeatedly", "closed")
        return [Witness(Statement.CLOSED, each, evidence) for each in spans]

    async def _amounts(self, symbol: str, timeframe: str, span: Interval) -> list[Amounts]:
        """The valid rows of the span, ascending. A row without a time or a volume is left out. This can only weaken the
        proof.
        """
        calendar = SeriesCalendar.of(self.traits, timeframe)
        limit = sum(1 for _ in _opens(calendar, span))
        rows = await self.source.candles(symbol, timeframe, span[0], limit)
        found = {row[0]: Amounts(row[0], row[_VOLUME]) for row in rows if _is_row(row) and span[0] <= row[0] < span[1]}
        return [found[opens] for opens in sorted(found)]

    def _periods(self, rows: Sequence[Amounts]) -> Intervals:
        """The periods of the candles with volume. Flat rows are left out, because they do not show that there was a
        trade.
        """
        return union((each.opens, self.calendar.close_of(each.opens)) for each in rows if each.volume > 0)

    def _candle_evidence(self, rows: Sequence[Amounts], timeframe: str, span: Interval) -> Evidence:
        asked = f"{timeframe} from {to_instant(span[0]).isoformat()} to {to_instant(span[1]).isoformat()}"
        return self._evidence(EvidenceKind.ANSWER, 1, asked, f"{len(rows)} candles")

    def _evidence(self, kind: EvidenceKind, level: int, asked: str, answered: str) -> Evidence:
        return Evidence(
            level=level, kind=kind, asked=asked, answered=answered, at=self.now(), run_ids=(self.request.run_id,)
        )


def _opens(calendar: SeriesCalendar, span: Interval) -> Sequence[int]:
    found = [span[0]]
    while (following := calendar.shift(found[-1], 1)) < span[1]:
        found.append(following)
    return found


def _is_row(row: Sequence[Any]) -> bool:
    return len(row) > _VOLUME and type(row[0]) is int and type(row[_VOLUME]) in {int, float}
