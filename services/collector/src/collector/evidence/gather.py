"""Requests the evidence about a hole from an exchange, and decides its class.

Requests: the candles around the hole, the next coarser candles, the candles of a few other symbols, trades if the
exchange's ids are sequential, and the exchange's status.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, Protocol
from uuid import UUID

from collector.candles.pages import SeriesCalendar
from collector.evidence.decide import Answer, CoarserCandle, Gathered, Tape, findings, to_absence
from collector.evidence.incidents import Statement, Witness, incidents
from collector.evidence.sources import Amounts, Trade, trade_of, traded_periods, whole_periods
from collector.exchange.traits import ExchangeTraits
from contracts.coverage import SETTLE_TIME, Absence, Evidence, EvidenceKind, to_instant
from contracts.spans import Interval, Intervals, subtract, union

COARSER: Final = ("1m", "5m", "15m", "1h", "4h", "1d")
"""Each candle of a timeframe consists of whole candles of those before it."""

MAX_PERIODS: Final = 90
"""The longest hole for one call, in periods, so that each request fits into a page."""

MAX_TRADES: Final = 1000
MAX_TAPE_PAGES: Final = 8
"""The number of requests for trades of one tape. A tape that does not reach across the hole proves nothing."""

_HOUR_MS: Final = 3_600_000
_VOLUME: Final = 5


class EvidenceSource(Protocol):
    """The requests of one exchange. They raise `ExchangeFailure`."""

    async def candles(self, symbol: str, timeframe: str, since: int, limit: int) -> Sequence[Sequence[Any]]:
        """Rows as ccxt returns them: open time in milliseconds, open, high, low, close, volume."""

    async def trades(self, symbol: str, since: int, until: int, limit: int) -> Sequence[dict[str, Any]]:
        """Trades as ccxt returns them, with `id` and `timestamp`. Exchanges may ignore `until`, or end earlier."""

    async def closed(self) -> Intervals:
        """The time in which the exchange has stated that it was closed."""


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
    """The absences of the hole, ascending. They cover all of it but the periods that have a candle now.

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
        tapes = await self._tapes()
        witnesses = [
            self._witness(span, tape) for tape in tapes for span in traded_periods(hole, tape.trades, self.calendar)
        ]
        witnesses += await self._closed()
        silences: dict[str, Intervals] = {each: subtract([hole], shown) for each, shown in others.items()}
        silences[symbol] = subtract([hole], self._periods(rows))
        silence = self._evidence(EvidenceKind.ALL_SYMBOLS, 1, "candles of all symbols", f"none of {len(silences)}")
        return Gathered(
            omits=self.traits.fills_silence is False,
            answers=answers,
            coarser=await self._coarser(rows, wide),
            tapes=tapes,
            incidents=incidents(silences, witnesses, silence),
            others_traded=union(span for shown in others.values() for span in shown),
        )

    def _others(self) -> list[str]:
        return [each for each in self.request.other_symbols if each != self.request.symbol]

    def _next_coarser(self) -> str | None:
        return dict(pairwise(COARSER)).get(self.request.timeframe)

    def _buckets(self) -> Interval:
        """The hole, widened by a candle on each side and to whole coarser candles."""
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

    async def _tapes(self) -> list[Tape]:
        """Trades from a little before the hole on, and once more from further before if their ids jump there."""
        if not self.traits.sequential_trade_ids:
            return []
        start, end = self.request.hole
        reach = max(min(end - start, _HOUR_MS), self.calendar.nominal_ms)
        tape: set[Trade] = set()
        for before in (reach, 10 * reach):
            since = max(0, start - before)
            await self._read_tape(tape, since, end + reach)
            silent = [two for one, two in pairwise(sorted(tape)) if one.at < start and two.at >= end]
            if silent or any(start <= each.at < end for each in tape):
                break
        trades = tuple(sorted(tape))
        ids = f"{len(trades)} trades, ids {trades[0].id} to {trades[-1].id}" if trades else "no trades"
        asked = f"trades from {to_instant(since).isoformat()}"
        return [Tape(trades, self._evidence(EvidenceKind.TRADE_IDS, 1, asked, ids))]

    async def _read_tape(self, tape: set[Trade], since: int, until: int) -> None:
        """Add the trades from `since` to the first one after the hole. Some exchanges send at most an hour per request,
        so the next request begins an hour later if the answer is no full page. Left out trades prove less, never more.
        """
        for _ in range(MAX_TAPE_PAGES):
            rows = await self.source.trades(self.request.symbol, since, until, MAX_TRADES)
            trades = {trade for row in rows if (trade := trade_of(row)) is not None}
            tape |= trades
            latest = max((each.at for each in trades), default=since)
            if latest >= self.request.hole[1] or since >= until:
                return
            since = latest if len(rows) >= MAX_TRADES and latest > since else min(until, since + _HOUR_MS)

    async def _closed(self) -> list[Witness]:
        """The whole periods of the hole in which the exchange has stated that it was closed."""
        spans = [
            each
            for span in await self.source.closed()
            for each in whole_periods(span, self.request.hole, self.calendar)
        ]
        evidence = self._evidence(EvidenceKind.WITNESS, 1, "the exchange's status, repeatedly", "closed")
        return [Witness(Statement.CLOSED, each, evidence) for each in spans]

    async def _amounts(self, symbol: str, timeframe: str, span: Interval) -> list[Amounts]:
        """The valid rows of the span, ascending. A row without a time or a volume is left out, which proves less."""
        calendar = SeriesCalendar.of(self.traits, timeframe)
        limit = sum(1 for _ in _opens(calendar, span))
        rows = await self.source.candles(symbol, timeframe, span[0], limit)
        found = {row[0]: Amounts(row[0], row[_VOLUME]) for row in rows if _is_row(row) and span[0] <= row[0] < span[1]}
        return [found[opens] for opens in sorted(found)]

    def _periods(self, rows: Sequence[Amounts]) -> Intervals:
        """The periods of the candles with volume: flat rows show nothing."""
        return union((each.opens, self.calendar.close_of(each.opens)) for each in rows if each.volume > 0)

    def _candle_evidence(self, rows: Sequence[Amounts], timeframe: str, span: Interval) -> Evidence:
        asked = f"{timeframe} from {to_instant(span[0]).isoformat()} to {to_instant(span[1]).isoformat()}"
        return self._evidence(EvidenceKind.ANSWER, 1, asked, f"{len(rows)} candles")

    def _witness(self, span: Interval, tape: Tape) -> Witness:
        return Witness(Statement.TRADED, span, tape.evidence)

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
