"""Evidence is asked for, and the absences follow from the answers. The answers are stubs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from typing_extensions import override

from collector.evidence.gather import MAX_PERIODS, EvidenceRequest, gather_evidence
from collector.exchange.failures import ExchangeFailure
from collector.exchange.silence_habits import Habit
from collector.exchange.traits import ExchangeTraits
from collector.exchange.traits_table import traits_of
from contracts.coverage import Absence, EvidenceKind, to_instant, to_milliseconds
from contracts.spans import Intervals
from contracts.vocabulary import ErrorClass
from support.made_exchange import ASKED_AT, MINUTE, START, minute

HOUR = 60 * MINUTE
RUN_ID = UUID(int=7)
SYMBOL, OTHERS = "BTC/USDT", ("ETH/USDT", "XRP/USDT")


class StubSource:
    """Candles by symbol and timeframe, as open minute to volume, and trades as id to minute."""

    hours_per_answer = 1
    """An answer with trades covers this time, as Binance's."""

    def __init__(self, candles: dict[tuple[str, str], dict[float, float]], trades: dict[int, float]) -> None:
        self.stored, self.tape = candles, trades
        self.asked: list[tuple[Any, ...]] = []
        self.closed_spans: Intervals = ()
        self.other_tape: dict[int, float] = {}
        self.habits = Habit()

    async def candles(self, symbol: str, timeframe: str, since: int, limit: int) -> Sequence[Sequence[Any]]:
        self.asked.append((symbol, timeframe, since, limit))
        of_series = self.stored.get((symbol, timeframe), {})
        rows: list[list[Any]] = [[START + int(at * MINUTE), 1, 1, 1, 1, volume] for at, volume in of_series.items()]
        return [row for row in rows if row[0] >= since][:limit]

    async def closed(self, symbol: str) -> Intervals:
        assert symbol == SYMBOL
        return self.closed_spans

    def habit(self, symbol: str, timeframe: str) -> Habit:
        assert (symbol, timeframe) == (SYMBOL, "1m")
        return self.habits

    async def trades(self, symbol: str, since: int, until: int, limit: int) -> Sequence[dict[str, Any]]:
        self.asked.append((symbol, "trades", since, limit))
        tape = self.tape if symbol == SYMBOL else self.other_tape
        rows: list[dict[str, Any]] = [
            {"id": str(number), "timestamp": START + int(at * MINUTE)} for number, at in tape.items()
        ]
        return [row for row in rows if since <= row["timestamp"] < since + self.hours_per_answer * HOUR][:limit]


async def asked_about(
    source: StubSource, traits: ExchangeTraits, first: int = 6, last: int = 8, now: datetime = ASKED_AT
) -> tuple[Absence, ...]:
    hole = minute(first), minute(last)
    request = EvidenceRequest(symbol=SYMBOL, timeframe="1m", hole=hole, other_symbols=OTHERS, run_id=RUN_ID)
    return await gather_evidence(source, traits, request, lambda: now)


def candles(coarser: float, *, others: bool = True) -> dict[tuple[str, str], dict[float, float]]:
    """Candles of minutes 5, 8 and 9 with a volume of 0.1 each, and the coarser candle."""
    alive = dict.fromkeys(map(float, range(10)), 1.0) if others else {}
    return {
        (SYMBOL, "1m"): dict.fromkeys((5.0, 8.0, 9.0), 0.1),
        (SYMBOL, "5m"): {5: coarser},
        **{(each, "1m"): dict(alive) for each in OTHERS},
    }


def summary(found: tuple[Absence, ...]) -> list[tuple[str, int]]:
    return [(each.absence_class.value, each.level) for each in found]


@pytest.mark.parametrize(
    ("coarser", "others", "expected"),
    [
        (0.3, True, [("no_trade", 4)]),
        (0.4, True, [("unknown", 1)]),
        (0.3, False, [("unknown", 1)]),
    ],
)
async def test_a_coarser_candle_that_equals_the_finer_ones_proves_silence(
    coarser: float, others: bool, expected: list[tuple[str, int]]
) -> None:
    source = StubSource(candles(coarser, others=others), {})
    found = await asked_about(source, ExchangeTraits())
    assert summary(found) == expected
    assert (found[0].start.timestamp() * 1000, found[0].end.timestamp() * 1000) == (minute(6), minute(8))
    assert all(each.run_ids == (RUN_ID,) and each.at == ASKED_AT for each in found[0].proof)
    assert "trades" not in {each[1] for each in source.asked}, "its trade ids are not known to be sequential"


@pytest.mark.parametrize("exchange", ["binance", "coinbase", "kraken"])
async def test_contiguous_ids_prove_silence_and_a_jump_is_asked_again_with_a_wider_range(exchange: str) -> None:
    silent = StubSource({}, {1: 4, 2: 5, 3: 8.5})
    assert summary(await asked_about(silent, traits_of(exchange))) == [("no_trade", 5)]
    jump = StubSource({}, {1: 4, 2: 5, 4: 8.5})
    assert summary(await asked_about(jump, traits_of(exchange))) == [("unknown", 1)]
    late = StubSource({}, {1: 0, 2: 8.5})
    assert summary(await asked_about(late, traits_of(exchange))) == [("no_trade", 5)]
    assert [each[2] for each in late.asked if each[1] == "trades"] == [minute(4), minute(-14)]


async def test_only_young_silence_of_bitstamp_is_proved_by_ids() -> None:
    """Ccxt requests the trades of its last hour, without a start."""
    for now, expected in ((65, [("no_trade", 5)]), (67, [("unknown", 1)])):
        source = StubSource({}, {1: 4, 2: 5, 3: 8.5})
        assert summary(await asked_about(source, traits_of("bitstamp"), now=to_instant(minute(now)))) == expected
        assert ("trades" in {each[1] for each in source.asked}) is (now == 65)


async def test_trades_while_no_symbol_has_candles_show_that_the_candles_are_lost() -> None:
    source = StubSource({}, {1: 5, 2: 6.5, 3: 8})
    found = await asked_about(source, traits_of("binance"))
    assert summary(found) == [("lost_at_source", 7), ("no_trade", 5)]


async def test_a_coarser_candle_that_can_still_change_proves_nothing() -> None:
    for now, expected in ((19, [("unknown", 1)]), (20, [("no_trade", 4)])):
        found = await asked_about(StubSource(candles(0.3), {}), ExchangeTraits(), now=to_instant(minute(now)))
        assert summary(found) == expected


async def test_rows_that_ccxt_could_not_read_prove_nothing() -> None:
    class Broken(StubSource):
        @override
        async def candles(self, *_: Any) -> Sequence[Sequence[Any]]:
            return [[], [None] * 6, ["x", 1, 1, 1, 1, None]]

        @override
        async def trades(self, *_: Any) -> Sequence[dict[str, Any]]:
            return [{"id": None, "timestamp": 1}, {"id": "a-1", "timestamp": 2}, {"id": "7", "timestamp": None}]

    assert summary(await asked_about(Broken({}, {}), traits_of("binance"))) == [("unknown", 1)]


async def test_a_long_hole_is_refused() -> None:
    with pytest.raises(ValueError, match="split it"):
        await asked_about(StubSource({}, {}), ExchangeTraits(), 0, MAX_PERIODS + 1)


async def test_the_tape_is_read_across_a_hole_that_is_longer_than_an_answer() -> None:
    source = StubSource({}, {1: 4, 2: 95, 3: 96})
    assert summary(await asked_about(source, traits_of("binance"), 6, 94)) == [("no_trade", 5)]
    source = StubSource({}, {1: 4, 3: 95, 4: 96})
    assert summary(await asked_about(source, traits_of("binance"), 6, 94)) == [("unknown", 1)]


async def test_a_jump_of_ids_keeps_a_coarser_candle_from_proving_silence() -> None:
    """The coarser candle can lack the same trade."""
    quiet = {1: 5.5, 2: 8.5, 3: 9.5}
    assert summary(await asked_about(StubSource(candles(0.3), quiet), traits_of("binance"))) == [("no_trade", 5)]
    jump = {1: 5.5, 3: 8.5, 4: 9.5}
    assert summary(await asked_about(StubSource(candles(0.3), jump), traits_of("binance"))) == [("unknown", 1)]


async def test_periods_that_have_a_candle_now_are_no_absence() -> None:
    found = await asked_about(StubSource(candles(0.3), {}), ExchangeTraits(), 6, 10)
    assert [(to_milliseconds(each.start), to_milliseconds(each.end)) for each in found] == [(minute(6), minute(8))]


async def test_silence_of_all_symbols_is_an_outage_only_for_whole_periods_that_the_exchange_called_closed() -> None:
    source = StubSource({}, {})
    source.closed_spans = ((minute(6) + 1, minute(8)),)
    found = await asked_about(source, ExchangeTraits())
    assert summary(found) == [("unknown", 1), ("outage", 6)]
    assert found[1].start == to_instant(minute(7))


async def test_trades_of_a_busy_symbol_without_sequential_ids_show_that_all_candles_are_lost() -> None:
    """Bitfinex. The answers without trades are no witness of anything."""
    source = StubSource({}, {})
    source.other_tape = {1: 5.5, 90: 6.2, 91: 6.9, 92: 9}
    found = await asked_about(source, traits_of("bitfinex"), 6, 9)
    assert summary(found) == [("lost_at_source", 7), ("unknown", 1)]
    assert (found[0].start, found[0].end) == (to_instant(minute(6)), to_instant(minute(7)))
    [proof] = found[0].proof
    assert (proof.kind, proof.answered) == (EvidenceKind.WITNESS, "2 trades within the silence")
    assert proof.asked.startswith("trades of ETH/USDT from 2026-")
    source.other_tape = {}
    assert summary(await asked_about(source, traits_of("bitfinex"), 6, 9)) == [("unknown", 1)]
    assert summary(await asked_about(StubSource({}, {7: 6.5}), ExchangeTraits(), 6, 9)) == [("unknown", 1)]


async def test_a_witness_reads_on_until_the_end_of_the_silence() -> None:
    source = StubSource({}, {})
    source.other_tape = {number: 6 + number / 2 for number in range(160)}
    found = await asked_about(source, traits_of("bitfinex"), 6, 86)
    assert summary(found) == [("lost_at_source", 7)]
    assert len([each for each in source.asked if each[:2] == (OTHERS[0], "trades")]) == 2


async def test_a_symbol_whose_ids_show_no_trade_is_not_lost_while_others_traded() -> None:
    source = StubSource({}, {1: 4, 2: 5, 3: 8.5})
    source.other_tape = {number: 5 + number / 10 for number in range(50)}
    assert summary(await asked_about(source, traits_of("binance"))) == [("no_trade", 5)]


def candles_of_every_third_minute() -> dict[tuple[str, str], dict[float, float]]:
    """From minute 5 on. The other symbols have candles of every minute."""
    of_others: dict[tuple[str, str], dict[float, float]] = {
        (each, "1m"): dict.fromkeys(map(float, range(30)), 1.0) for each in OTHERS
    }
    return of_others | {(SYMBOL, "1m"): dict.fromkeys(map(float, range(5, 30, 3)), 0.1)}


async def test_a_trade_of_the_symbol_refutes_neighbours_and_a_closed_exchange() -> None:
    traits = traits_of("bitfinex")
    silent = await asked_about(StubSource(candles_of_every_third_minute(), {}), traits, 6, 15)
    assert summary(silent) == [("no_trade", 3)] * 3
    traded = await asked_about(StubSource(candles_of_every_third_minute(), {44: 6.5}), traits, 6, 15)
    assert summary(traded) == [("unknown", 1), *[("no_trade", 3)] * 3]
    closed = StubSource({}, {44: 6.5})
    closed.closed_spans = ((minute(6), minute(8)),)
    assert summary(await asked_about(closed, traits)) == [("lost_at_source", 7), ("outage", 6)]


async def test_rows_without_volume_refute_that_the_exchange_leaves_out_silence() -> None:
    for habit, expected in ((Habit(left_out=3), ("no_trade", 3)), (Habit(filled=1), ("unknown", 1))):
        source = StubSource(candles_of_every_third_minute(), {})
        source.habits = habit
        found = await asked_about(source, traits_of("bitfinex"), 6, 15)
        assert set(summary(found)) == {expected}
        if habit.left_out:
            assert found[0].proof[0].answered.endswith("3 answers left out periods, none had a row without volume")


async def test_a_coarser_candle_with_more_volume_refutes_a_closed_exchange() -> None:
    for coarser, expected in ((0.3, [("outage", 6)]), (0.4, [("unknown", 1)])):
        source = StubSource(candles(coarser, others=False), {})
        source.closed_spans = ((minute(6), minute(8)),)
        assert summary(await asked_about(source, ExchangeTraits())) == expected


async def test_a_refused_request_for_trades_proves_nothing_and_a_failed_one_is_tried_again() -> None:
    class Refusing(StubSource):
        retryable = False

        @override
        async def trades(self, *_: Any) -> Sequence[dict[str, Any]]:
            raise ExchangeFailure(ErrorClass.BAD_REQUEST, "too old", retryable=self.retryable)

    source = Refusing({}, {})
    assert summary(await asked_about(source, traits_of("bitfinex"))) == [("unknown", 1)]
    source.retryable = True
    with pytest.raises(ExchangeFailure):
        await asked_about(source, traits_of("bitfinex"))
