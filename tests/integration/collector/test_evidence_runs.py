"""Requests for evidence with Kafka and the simulated exchanges: every absence gets a class that the truth confirms."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from contracts.candles import CandlesCollected
from contracts.coverage import Absence, AbsenceClass, EvidenceKind
from contracts.ranges import Purpose, RangeDue
from contracts.runs import RunFinished
from contracts.spans import Interval, Intervals, subtract, union
from contracts.topics import RANGE_REQUESTS
from contracts.vocabulary import ErrorClass, JobType, RunStatus
from support.collecting import Simulator, a_range, symbol_of
from support.kafka import Recorder

pytestmark = pytest.mark.kafka

NOON = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
"""The frozen time of the simulator is half a minute later."""

MINUTE = 60_000
Publish = Callable[..., Any]
Start = Callable[..., AbstractAsyncContextManager[Any]]


def a_question(hours_ago: float, hours: float, **changes: Any) -> RangeDue:
    start = NOON - timedelta(hours=hours_ago)
    return a_range(
        start, start + timedelta(hours=hours), **{"purpose": Purpose.EVIDENCE, "deadline_seconds": 90, **changes}
    )


async def end_of(recorder: Recorder, run_id: UUID) -> RunFinished:
    return await recorder.await_event(RunFinished, lambda event: event.run_id == run_id, within=120)


def absences_of(recorder: Recorder, run_id: UUID) -> list[Absence]:
    return [
        absence for event in recorder.events(CandlesCollected) if event.run_id == run_id for absence in event.absences
    ]


def spans_of(absences: list[Absence], *classes: AbsenceClass) -> Intervals:
    return union(each.milliseconds() for each in absences if not classes or each.absence_class in classes)


async def silence_of(simulator: Simulator, due: RangeDue) -> Intervals:
    """The minutes of the span in which the market had no trade."""
    start, end = due.span.milliseconds()
    truth = await simulator.true_candles(due.exchange, due.symbol, "1m", start=start, end=end)
    return subtract([(start, end)], [(int(row[0]), int(row[0]) + MINUTE) for row in truth if row[5] > 0])


async def quiet_market(simulator: Simulator, exchange: str = "binance") -> None:
    await simulator.set_history(exchange, symbol_of(exchange), fills=False, silent_share=0.4)


@pytest.mark.parametrize(
    ("exchange", "expected_paths"),
    [
        ("binance", {"/api/v3/aggTrades", "/api/v3/klines", "/sapi/v1/system/status"}),
        ("coinbase", {"/api/v3/brokerage/market/products/BTC-USD/ticker"}),
    ],
)
async def test_the_gaps_of_a_quiet_market_are_proved_tradeless_by_its_trades(
    exchange: str,
    expected_paths: set[str],
    start_in_process: Start,
    publish: Publish,
    recorder: Recorder,
    simulator: Simulator,
) -> None:
    await quiet_market(simulator, exchange)
    due = a_question(4, 3, exchange=exchange)
    async with start_in_process():
        await publish(due, topic=RANGE_REQUESTS)
        finished = await end_of(recorder, due.run_id)
    assert (finished.status, finished.job_type) == (RunStatus.SUCCESS, JobType.REPAIR)
    found = absences_of(recorder, due.run_id)
    assert spans_of(found) == await silence_of(simulator, due)
    assert len(found) > 20
    assert {(each.absence_class, each.level, each.recheck_at) for each in found} == {(AbsenceClass.NO_TRADE, 5, None)}
    for each in found:
        [proof] = each.proof
        assert (proof.kind, proof.run_ids) == (EvidenceKind.TRADE_IDS, (due.run_id,))
        assert proof.asked.startswith("trades from 2025-06-02T")
        assert "trades, ids" in proof.answered
    assert expected_paths <= {each["path"] for each in await simulator.all_requests(exchange)}
    assert finished.results[0].pages > 2


async def test_without_one_id_no_gap_around_it_is_proved(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    """The status of the exchange cannot be read, which says nothing."""
    await quiet_market(simulator)
    await simulator.add_mood("error", exchange="binance", path="system/status", status=404)
    due = a_question(2, 1)
    gaps = await silence_of(simulator, due)
    gap = gaps[len(gaps) // 2]
    [removed] = await last_trade_before(simulator, gap)
    await simulator.add_mood("page", exchange="binance", page={"missing_trades": [removed]})
    async with start_in_process():
        await publish(due, topic=RANGE_REQUESTS)
        await end_of(recorder, due.run_id)
    found = absences_of(recorder, due.run_id)
    assert spans_of(found, AbsenceClass.UNKNOWN) == (gap,)
    assert spans_of(found, AbsenceClass.NO_TRADE) == subtract(gaps, [gap])
    assert all(each.recheck_at is not None for each in found if each.absence_class is AbsenceClass.UNKNOWN)


async def last_trade_before(simulator: Simulator, gap: Interval) -> list[int]:
    trades = await simulator.trades("BTCUSDT", gap[0] - 30 * MINUTE, gap[0] - 1)
    return [number for number, _ in trades[-1:]]


@pytest.mark.parametrize("exchange", ["binance", "okx", "kraken"])
async def test_empty_answers_for_days_with_trades_are_never_called_tradeless_or_an_outage(
    exchange: str, start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    """No symbol has candles of two days, in any timeframe. Binance and Kraken still send their trades; okx does not."""
    hidden = [[(NOON - timedelta(hours=60)).isoformat(), (NOON - timedelta(hours=1)).isoformat()]]
    await simulator.add_mood("page", exchange=exchange, page={"hidden": hidden})
    asked = [a_question(ago, 1, exchange=exchange, chunk_id=chunk) for chunk, ago in enumerate((50, 26, 26), start=1)]
    async with start_in_process():
        for due in asked:
            await publish(due, topic=RANGE_REQUESTS)
            assert (await end_of(recorder, due.run_id)).status is RunStatus.SUCCESS
    for due in asked:
        found = absences_of(recorder, due.run_id)
        silent = await silence_of(simulator, due)
        assert spans_of(found) == (due.span.milliseconds(),)
        assert spans_of(found, AbsenceClass.OUTAGE) == ()
        assert subtract(spans_of(found, AbsenceClass.NO_TRADE), silent) == ()
        lost = spans_of(found, AbsenceClass.LOST_AT_SOURCE)
        assert lost == (() if exchange == "okx" else subtract([due.span.milliseconds()], silent))


async def test_a_refused_request_for_trades_counts_as_every_other(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    """The run fails with the exchange's error, its circuit opens, and nothing is said about the span."""
    await quiet_market(simulator)
    await simulator.add_mood("ban", exchange="binance", path="aggTrades", retry_after=600)
    first, second = (a_question(2, 1, chunk_id=chunk) for chunk in (1, 2))
    async with start_in_process():
        await publish(first, topic=RANGE_REQUESTS)
        ends = [await end_of(recorder, first.run_id)]
        count = len(await simulator.all_requests("binance"))
        await publish(second, topic=RANGE_REQUESTS)
        ends.append(await end_of(recorder, second.run_id))
    assert [(each.status, each.error_class) for each in ends] == [(RunStatus.FAILED, ErrorClass.BANNED)] * 2
    assert len(await simulator.all_requests("binance")) == count
    assert absences_of(recorder, first.run_id) == []
