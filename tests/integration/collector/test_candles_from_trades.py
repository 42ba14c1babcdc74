"""Candles from the trades of the simulated Kraken, which keeps 720 candles: equal to the truth, or nothing counts."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from collector.candles.page_requests import ReadingLimits
from collector.exchange.failures import ExchangeFailure
from collector.run.retrying import Retrier
from collector.run.tape_run import collect_from_trades
from collector.run.timeframe_run import TimeframeRun
from contracts.coverage import PendingSpan, SeriesProgress, Span, to_milliseconds
from contracts.vocabulary import CandleSource, ErrorClass
from support.collecting import QUICK, Exchanges, Simulator, rows_of, symbol_of

NOON = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
"""The frozen time of the simulator is half a minute later."""
BEFORE_HORIZON = Span(start=NOON - timedelta(hours=20), end=NOON - timedelta(hours=13))


@pytest.fixture
def exchanges(exchanges_at: Callable[..., Exchanges], simulator: Simulator) -> Exchanges:
    return exchanges_at(simulator.base)


async def built(
    exchanges: Exchanges, span: Span = BEFORE_HORIZON, exchange: str = "kraken", **limits: int
) -> tuple[TimeframeRun, ExchangeFailure | None]:
    """The run, and its failure."""
    progress = SeriesProgress(timeframe="1m", pending=(PendingSpan(start=span.start, end=span.end),))
    run = TimeframeRun(symbol_of(exchange), "1m", progress, is_range=True)
    retrier = Retrier(exchange, QUICK, asyncio.get_running_loop().time() + 30, exchanges.metrics)
    try:
        await collect_from_trades(exchanges.clients.get(exchange), run, retrier, ReadingLimits(**limits))
    except ExchangeFailure as failure:
        return run, failure
    return run, None


async def true_rows(simulator: Simulator, span: Span) -> list[list[float]]:
    """The candles with trades."""
    start, end = span.milliseconds()
    rows = await simulator.true_candles("kraken", symbol_of("kraken"), "1m", start=start, end=end)
    return [row for row in rows if row[5] > 0]


async def trade_ids(exchanges: Exchanges, around: datetime) -> list[int]:
    """The ids of ten trades from a time on."""
    client, symbol = exchanges.clients.get("kraken"), symbol_of("kraken")
    await client.require(symbol, "1m")
    since = to_milliseconds(around)
    return [int(row["id"]) for row in await client.fetch_trades(symbol, since, since + 3_600_000, 10)]


async def test_candles_before_the_horizon_equal_the_truth(exchanges: Exchanges, simulator: Simulator) -> None:
    run, failure = await built(exchanges)

    assert failure is None
    assert rows_of(run) == await true_rows(simulator, BEFORE_HORIZON)
    result = run.result()
    assert result.verified == (BEFORE_HORIZON,)
    assert run.source is CandleSource.TRADES
    assert any("equal the exchange's own candles" in note for note in result.notes)
    trades = [each for answer in run.answers for each in answer.activity.values()]
    assert len(trades) == len(rows_of(run))


async def test_one_falsified_trade_in_the_overlap_and_nothing_counts(
    exchanges: Exchanges, simulator: Simulator
) -> None:
    [falsified, *_] = await trade_ids(exchanges, NOON - timedelta(hours=8))
    await simulator.add_mood("page", exchange="kraken", page={"falsified_trades": [falsified]})

    run, failure = await built(exchanges)

    assert failure is not None
    assert failure.error_class is ErrorClass.UNPROVEN_TRADES
    assert "differ from the exchange's own candles" in failure.message
    assert "2025-06-02 04:00 UTC" in failure.message
    assert (run.answers, run.result().verified) == ([], ())


async def test_one_missing_trade_leaves_its_candles_unproved(exchanges: Exchanges, simulator: Simulator) -> None:
    missing = (await trade_ids(exchanges, NOON - timedelta(hours=15)))[5]
    await simulator.add_mood("page", exchange="kraken", page={"missing_trades": [missing]})

    run, failure = await built(exchanges)

    assert failure is not None
    assert failure.error_class is ErrorClass.INVALID_DATA
    assert f"between the ids {missing - 1} and {missing + 1}" in failure.message
    truth = await true_rows(simulator, BEFORE_HORIZON)
    assert [row for row in truth if row not in rows_of(run)] == [row for row in truth if row[0] not in opens_of(run)]
    assert 0 < len(truth) - len(rows_of(run)) <= 2
    before, after = run.result().verified
    assert timedelta() < after.start - before.end <= timedelta(minutes=5)


def opens_of(run: TimeframeRun) -> set[float]:
    return {row[0] for row in rows_of(run)}


async def test_a_run_with_few_pages_verifies_what_it_has_read(exchanges: Exchanges, simulator: Simulator) -> None:
    """The backfiller requests the rest again."""
    run, failure = await built(exchanges, max_pages=1)

    assert failure is None
    [verified] = run.result().verified
    assert verified.start == BEFORE_HORIZON.start
    assert timedelta(hours=3) < verified.end - verified.start < timedelta(hours=7)
    assert rows_of(run) == await true_rows(simulator, verified)
    assert any("its limit" in note for note in run.result().notes)


async def test_an_exchange_without_sequential_ids_is_refused(exchanges: Exchanges) -> None:
    _, failure = await built(exchanges, exchange="okx")
    assert failure is not None
    assert failure.error_class is ErrorClass.NOT_SUPPORTED
