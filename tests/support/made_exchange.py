"""A made exchange: the true trades of each minute, and answers derived from them, some of which mislead."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime

from collector.candles.pages import SeriesCalendar
from collector.evidence.decide import Answer, CoarserCandle, Gathered, Tape
from collector.evidence.incidents import Statement, Witness, incidents
from collector.evidence.sources import Amounts, Trade
from collector.exchange.traits import ExchangeTraits
from contracts.coverage import Evidence, EvidenceKind
from contracts.spans import Interval, Intervals, subtract, union

MINUTE = 60_000
START = 1_795_348_800_000
MINUTES = 60
BUCKET = 5
MINUTE_CALENDAR = SeriesCalendar.of(ExchangeTraits(), "1m")
ASKED_AT = datetime(2026, 11, 27, tzinfo=UTC)


def some_evidence(kind: EvidenceKind, level: int = 1) -> Evidence:
    return Evidence(level=level, kind=kind, asked="asked", answered="answered", at=ASKED_AT)


def minute(number: int) -> int:
    return START + number * MINUTE


def at_minutes(numbers: set[int]) -> Intervals:
    return union((minute(each), minute(each + 1)) for each in numbers)


@dataclass
class MadeExchange:
    """The truth, and the ways in which the exchange misleads."""

    trades: dict[str, list[tuple[Trade, int]]]
    """Each trade of a symbol with its volume, ascending."""
    halted: set[int]
    """Minutes in which no symbol could be traded."""
    lost: set[int] = field(default_factory=set)
    """Minutes of which the candle endpoint has no candles of any symbol."""
    lost_alone: dict[str, set[int]] = field(default_factory=dict)
    """Minutes of which it lacks the candles of one symbol. The coarser timeframe has their trades."""
    coarser_shares: bool = False
    """The coarser candles lack the trades of the lost minutes, too."""
    flat: bool = False
    """Coarser candles without trades are sent with volume 0, also those whose trades are lost."""
    removed: set[int] = field(default_factory=set)
    """Trade ids that the tape leaves out."""
    status_speaks: bool = False
    tape_answers: bool = False

    def traded(self, symbol: str) -> set[int]:
        return {(trade.at - START) // MINUTE for trade, _ in self.trades[symbol]}

    def shown(self, symbol: str) -> set[int]:
        return self.traded(symbol) - self.lost - self.lost_alone.get(symbol, set())

    def silent(self, symbol: str) -> Intervals:
        return subtract([(START, minute(MINUTES))], at_minutes(self.shown(symbol)))

    def tape(self, symbol: str) -> tuple[Trade, ...]:
        return tuple(trade for trade, _ in self.trades[symbol] if trade.id not in self.removed)

    def gathered(self, symbol: str, empty_answers: int) -> Gathered:
        """All answers about one symbol. `empty_answers`: how often the endpoint sends an empty list."""
        answers = [Answer((), some_evidence(EvidenceKind.ANSWER)) for _ in range(empty_answers)]
        if not self.lost_alone:
            opens = tuple(minute(each) for each in sorted(self.shown(symbol)))
            answers.append(Answer(opens, some_evidence(EvidenceKind.ANSWER)))
        silences = {each: self.silent(each) for each in self.trades}
        tapes = (Tape(self.tape(symbol), some_evidence(EvidenceKind.TRADE_IDS)),) if self.tape_answers else ()
        return Gathered(
            omits=True,
            answers=answers,
            coarser=self._coarser(symbol),
            tapes=tapes,
            incidents=incidents(silences, self._witnesses(), some_evidence(EvidenceKind.ALL_SYMBOLS)),
            others_traded=union(
                span for each in self.trades if each != symbol for span in at_minutes(self.shown(each))
            ),
        )

    def _coarser(self, symbol: str) -> tuple[CoarserCandle, ...]:
        return tuple(
            each for first in range(0, MINUTES, BUCKET) if (each := self._coarser_candle(symbol, first)) is not None
        )

    def _coarser_candle(self, symbol: str, first: int) -> CoarserCandle | None:
        numbers = set(range(first, first + BUCKET))
        aggregated = self._amounts(symbol, numbers - self.lost if self.coarser_shares else numbers)
        if not aggregated.trades and not self.flat:
            return None
        finer = tuple(self._amounts(symbol, {each}) for each in sorted(numbers & self.shown(symbol)))
        bucket: Interval = (minute(first), minute(first + BUCKET))
        evidence = some_evidence(EvidenceKind.COARSER_CANDLE)
        return CoarserCandle(aggregated._replace(opens=bucket[0]), bucket, finer, evidence)

    def _amounts(self, symbol: str, numbers: set[int]) -> Amounts:
        volumes = [volume for trade, volume in self.trades[symbol] if (trade.at - START) // MINUTE in numbers]
        return Amounts(minute(min(numbers, default=0)), sum(volumes) / 100_000_000, len(volumes))

    def _witnesses(self) -> list[Witness]:
        """The status is true; the tape shows trades where it has them."""
        evidence = some_evidence(EvidenceKind.WITNESS)
        found: list[Witness] = []
        if self.status_speaks:
            found += [Witness(Statement.CLOSED, each, evidence) for each in at_minutes(self.halted)]
        if self.tape_answers:
            traded = {(trade.at - START) // MINUTE for each in self.trades for trade in self.tape(each)}
            found += [Witness(Statement.TRADED, each, evidence) for each in at_minutes(traded)]
        return found


def a_made_exchange(rng: random.Random) -> MadeExchange:
    """A few symbols of different activity, with outages, lost stretches, and every way to mislead."""
    halted = _stretch(rng, 0.4)
    trades = {f"S{number}/USDT": _trades(rng, halted) for number in range(rng.randint(2, 4))}
    ids = [trade.id for each in trades.values() for trade, _ in each]
    alone = {symbol: _stretch(rng, 0.5) for symbol in trades} if rng.random() < 0.5 else {}
    return MadeExchange(
        trades=trades,
        halted=halted,
        lost=_stretch(rng, 0.7),
        lost_alone=alone,
        coarser_shares=rng.random() < 0.5,
        flat=rng.random() < 0.5,
        removed=set(rng.sample(ids, min(len(ids), rng.choice((0, 1, 5))))),
        status_speaks=rng.random() < 0.5,
        tape_answers=rng.random() < 0.5,
    )


def _stretch(rng: random.Random, chance: float) -> set[int]:
    if rng.random() > chance:
        return set()
    first = rng.randrange(MINUTES)
    return set(range(first, min(MINUTES, first + rng.choice((1, 3, 12, MINUTES)))))


def _trades(rng: random.Random, halted: set[int]) -> list[tuple[Trade, int]]:
    """Some ids are never executed, so that the ids jump although no trade is missing."""
    busy, found, number = rng.choice((0.2, 0.6, 0.95)), [], rng.randrange(1000)
    for each in range(MINUTES):
        if each in halted or rng.random() > busy:
            continue
        for at in sorted(rng.randrange(MINUTE) for _ in range(rng.choice((1, 1, 3)))):
            number += 1 if rng.random() < 0.95 else 3
            found.append((Trade(number, minute(each) + at), rng.randint(1, 10**9)))
    return found
