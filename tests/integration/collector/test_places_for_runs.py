"""Slow exchanges and scheduled runs that wait leave places for the runs of others."""

from datetime import UTC, datetime

import pytest

from contracts.runs import RunFinished, RunStarted
from contracts.vocabulary import RunStatus, Trigger
from support.collecting import Simulator, a_tick
from support.collector_runs import Publish, Start, end_of, of_run
from support.kafka import Recorder

pytestmark = pytest.mark.kafka


async def test_a_slow_exchange_does_not_delay_the_others(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    await simulator.add_mood("latency", exchange="kraken", latency_ms=6000)
    slow = [a_tick(number, exchange="kraken", trigger=Trigger.SCHEDULED) for number in range(1, 9)]
    quick = a_tick(20, exchange="okx")
    async with start_in_process(MAX_SHARED_RUNS="6", MAX_RUNS_PER_LANE="3"):
        await publish(*slow)
        await recorder.await_events(RunStarted, 3, within=20)
        await publish(quick)
        assert (await end_of(recorder, quick, within=5)).status is RunStatus.SUCCESS
        assert all(event.exchange == "okx" for event in recorder.events(RunFinished))


async def test_a_run_starts_within_a_second_even_if_slow_exchanges_fill_the_shared_places(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    for exchange in ("kraken", "bybit"):
        await simulator.add_mood("latency", exchange=exchange, latency_ms=20_000)
    slow = [
        a_tick(number, exchange=("kraken", "bybit")[number % 2], trigger=Trigger.SCHEDULED, deadline_seconds=60)
        for number in range(1, 201)
    ]
    quick = a_tick(1000, exchange="okx")
    async with start_in_process(
        MAX_SHARED_RUNS="6", MAX_RUNS_PER_LANE="5", RESERVED_RUNS_PER_LANE="1", SHUTDOWN_GRACE_SECONDS="6"
    ) as worker:
        await publish(*slow)
        shared, reserved = 6, 2
        await recorder.await_events(RunStarted, shared + reserved, within=20)
        published_at = datetime.now(UTC)
        await publish(quick)
        started = await recorder.await_event(RunStarted, of_run(quick), within=5)
        assert (started.started_at - published_at).total_seconds() < 1
        assert (await end_of(recorder, quick, within=5)).status is RunStatus.SUCCESS
        assert len(recorder.events(RunStarted)) == 9
        assert worker.registry.get_sample_value("candlekeep_consumer_in_flight", {"consumer": "collector"}) == 8


async def test_a_manual_run_starts_before_a_hundred_scheduled_ones_that_wait_in_its_lane(
    start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    await simulator.add_mood("latency", exchange="kraken", path="OHLC", latency_ms=1000)
    scheduled = [a_tick(number, exchange="kraken", trigger=Trigger.SCHEDULED) for number in range(1, 101)]
    manual = a_tick(200, exchange="kraken")
    async with start_in_process(MAX_RUNS_PER_LANE="1"):
        await publish(*scheduled)
        await recorder.await_event(RunStarted, within=20)
        await publish(manual)
        assert (await end_of(recorder, manual)).status is RunStatus.SUCCESS
        before = [event for event in recorder.events(RunFinished) if event.run_id != manual.run_id]
    assert len(before) <= 4
