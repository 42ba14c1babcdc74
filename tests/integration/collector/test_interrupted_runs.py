"""Runs of a collector that is stopped or killed are finished or repeated, and none is lost."""

import asyncio
import signal

import pytest

from contracts.runs import RunFinished, RunStarted
from contracts.vocabulary import RunStatus, Trigger
from support.collecting import Simulator, a_tick
from support.collector_runs import Publish, Start, end_of, of_run
from support.kafka import Recorder

pytestmark = pytest.mark.kafka


async def test_a_waiting_manual_run_is_executed_by_the_next_owner_if_its_collector_dies(
    start_process: Start, start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    slow, manual = a_tick(1, trigger=Trigger.SCHEDULED, deadline_seconds=60), a_tick(1, deadline_seconds=60)
    await simulator.add_mood("latency", path="klines", latency_ms=15_000)
    async with start_process() as process:
        await publish(slow)
        await recorder.await_event(RunStarted, of_run(slow), within=40)
        await publish(manual)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await simulator.clear_moods()
    async with start_in_process():
        assert (await end_of(recorder, manual, within=40)).status is RunStatus.SUCCESS
        await end_of(recorder, slow, within=40)
    assert sorted(str(event.run_id) for event in recorder.events(RunFinished)) == sorted(
        str(tick.run_id) for tick in (slow, manual)
    )


async def test_sigterm_finishes_the_runs_in_flight_and_no_run_is_repeated(
    start_process: Start, start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    tick, after = a_tick(1), a_tick(2)
    await simulator.add_mood("latency", path="klines", latency_ms=1500)
    async with start_process() as process:
        await publish(tick)
        await recorder.await_event(RunStarted, of_run(tick), within=40)
        process.send_signal(signal.SIGTERM)
        assert (await end_of(recorder, tick)).status is RunStatus.SUCCESS
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    await simulator.clear_moods()
    async with start_in_process():
        await publish(after)
        await end_of(recorder, after, within=30)
    assert len([event for event in recorder.events(RunStarted) if event.run_id == tick.run_id]) == 1


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped with too little grace"])
async def test_an_interrupted_run_is_repeated_by_the_next_owner(
    kill: bool,
    start_process: Start,
    start_in_process: Start,
    publish: Publish,
    recorder: Recorder,
    simulator: Simulator,
) -> None:
    tick = a_tick(1, deadline_seconds=60)
    await simulator.add_mood("latency", path="klines", latency_ms=15_000)
    async with start_process(SHUTDOWN_GRACE_SECONDS="6") as process:  # five seconds are reserved for the last commit
        await publish(tick)
        first = await recorder.await_event(RunStarted, of_run(tick), within=40)
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        async with asyncio.timeout(15):
            assert await process.wait() == (-signal.SIGKILL if kill else 0)
    assert recorder.events(RunFinished) == []
    await simulator.clear_moods()
    async with start_in_process():
        assert (await end_of(recorder, tick, within=40)).status is RunStatus.SUCCESS
    again = recorder.events(RunStarted)[-1]
    assert (again.run_id, again.collector != first.collector) == (first.run_id, True)
    assert len(recorder.events(RunFinished)) == 1
