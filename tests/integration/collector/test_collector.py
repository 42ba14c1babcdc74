"""The whole collector with Kafka: it consumes ticks, and publishes candles and the events of runs."""

from datetime import timedelta

import pytest

from contracts.candles import CandlesCollected
from contracts.coverage import to_instant
from contracts.runs import RunFinished, RunStarted
from contracts.vocabulary import ErrorClass, RunStatus, Trigger
from support.collecting import EXCHANGES, Simulator, a_tick
from support.collector_runs import NOON, Publish, Start, end_of, of_run
from support.kafka import Recorder

pytestmark = pytest.mark.kafka


async def test_a_tick_becomes_candles_and_a_finished_run(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    tick = a_tick(7, exchange="coinbase", timeframes=("1m", "1h"), collected_until=NOON - timedelta(hours=6))
    async with start_in_process():
        await publish(tick)
        finished = await end_of(recorder, tick)
    [started] = [event for event in recorder.events(RunStarted) if event.run_id == tick.run_id]
    assert started.started_at <= finished.finished_at
    assert (finished.status, finished.error_class, finished.config_id) == (RunStatus.SUCCESS, None, 7)
    for result, length in zip(finished.results, (timedelta(minutes=1), timedelta(hours=1)), strict=True):
        events = [event for event in recorder.events(CandlesCollected) if event.timeframe == result.timeframe]
        assert {event.key() for event in events} == {f"coinbase|BTC/USD|{result.timeframe}"}
        first = int(min(event.rows[0].open_ms for event in events if event.rows))
        assert first <= int((NOON - timedelta(hours=6) - length).timestamp() * 1000)
        assert [(span.start, span.end) for span in result.verified] == [(to_instant(first), NOON)]
        assert sorted(list(row) for event in events for row in event.rows) == await simulator.true_candles(
            "coinbase", "BTC/USD", result.timeframe, start=first
        )
        assert result.candles == sum(len(event.rows) for event in events)
    assert finished.records_collected == sum(result.candles for result in finished.results)


async def test_runs_of_every_exchange_succeed_and_permanent_errors_fail_at_once(
    start_in_process: Start, publish: Publish, recorder: Recorder
) -> None:
    ticks = [a_tick(number, exchange=exchange) for number, exchange in enumerate(EXCHANGES, 1)]
    unknown = a_tick(8, symbol="NOPE/USDT")
    half_supported = a_tick(9, exchange="coinbase", timeframes=("1m", "4h"))
    async with start_in_process() as worker:
        await publish(*ticks, unknown, half_supported)
        for tick in ticks:
            assert (await end_of(recorder, tick)).status is RunStatus.SUCCESS
        failed = await end_of(recorder, unknown)
        partly = await end_of(recorder, half_supported)
        counted = worker.registry.get_sample_value(
            "candlekeep_runs_total", {"exchange": "binance", "status": "failed", "trigger": "manual"}
        )
    assert (failed.status, failed.error_class) == (RunStatus.FAILED, ErrorClass.BAD_SYMBOL)
    assert "no market NOPE/USDT" in (failed.error_message or "")
    assert (failed.finished_at - failed.started_at).total_seconds() < 5
    assert counted == 1
    assert (partly.status, partly.error_class) == (RunStatus.FAILED, ErrorClass.NOT_SUPPORTED)
    assert [result.candles > 0 for result in partly.results] == [True, False]


async def test_a_tick_whose_config_is_still_running_is_skipped(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    slow, second = a_tick(1), a_tick(1, trigger=Trigger.SCHEDULED)
    await simulator.add_mood("latency", path="klines", latency_ms=1500)
    async with start_in_process():
        await publish(slow)
        await recorder.await_event(RunStarted, of_run(slow), within=20)
        await publish(second)
        skipped = await end_of(recorder, second)
        assert recorder.events(RunFinished) == [skipped]
        finished = await end_of(recorder, slow)
    assert (skipped.status, skipped.error_class) == (RunStatus.SKIPPED, ErrorClass.ALREADY_RUNNING)
    assert str(slow.run_id) in (skipped.error_message or "")
    assert skipped.results == ()
    assert finished.status is RunStatus.SUCCESS


async def test_a_manual_run_waits_until_the_current_run_has_ended(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    slow, manual = a_tick(1, trigger=Trigger.SCHEDULED), a_tick(1)
    later = [a_tick(1, trigger=Trigger.SCHEDULED), a_tick(1)]
    await simulator.add_mood("latency", path="klines", latency_ms=1500)
    async with start_in_process():
        await publish(slow)
        await recorder.await_event(RunStarted, of_run(slow), within=20)
        await publish(manual, manual, *later)
        first, second, third = [await end_of(recorder, tick) for tick in (slow, manual, later[1])]
        skipped = await end_of(recorder, later[0])
    assert {run.status for run in (first, second, third)} == {RunStatus.SUCCESS}
    assert skipped.status is RunStatus.SKIPPED
    assert first.finished_at <= second.started_at <= second.finished_at <= third.started_at
    assert len(recorder.events(RunFinished)) == 4


async def test_duplicates_of_a_tick_are_one_run(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    tick, last = a_tick(1), a_tick(2)
    await simulator.add_mood("latency", path="klines", latency_ms=500, count=1)
    async with start_in_process():
        await publish(tick, tick)
        await end_of(recorder, tick)
        await publish(tick, last)
        await end_of(recorder, last)
    assert len([event for event in recorder.events(RunStarted) if event.run_id == tick.run_id]) == 1
    assert len([event for event in recorder.events(RunFinished) if event.run_id == tick.run_id]) == 1


async def test_a_run_ends_at_its_deadline_and_publishes_its_candles(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    await simulator.add_mood("latency", path="candles", latency_ms=15_000, every=2)  # delays the second page
    tick = a_tick(1, exchange="coinbase", collected_until=NOON - timedelta(hours=10), deadline_seconds=2)
    async with start_in_process():
        await publish(tick)
        finished = await end_of(recorder, tick)
    assert (finished.status, finished.error_class) == (RunStatus.FAILED, ErrorClass.DEADLINE_EXCEEDED)
    assert 1.9 < (finished.finished_at - finished.started_at).total_seconds() < 4
    assert finished.error_message is not None
    assert finished.error_message.startswith("the run exceeded its deadline of 2 s")
    assert finished.records_collected == sum(len(event.rows) for event in recorder.events(CandlesCollected))
    assert (finished.results[0].pages, finished.records_collected > 200) == (1, True)
