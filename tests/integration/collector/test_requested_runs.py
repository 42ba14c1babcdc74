"""Many manual or initial runs wait in the lane of an exchange: its scheduled runs start on time."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from contracts.runs import RunFinished, RunStarted
from contracts.ticks import TickDue
from contracts.vocabulary import RunStatus, Trigger
from support.collecting import Simulator, a_tick
from support.kafka import Recorder

pytestmark = pytest.mark.kafka

Publish = Callable[..., Any]
Start = Callable[..., AbstractAsyncContextManager[Any]]

MAX_LATENESS_SECONDS = 15.0
"""Much more than on an idle machine, and less than half of the 40 s that the rate limit needs for the other runs."""

MAX_INITIAL_RUNS_MEANWHILE = 70
"""Binance's rate limit allows one page of candles every 20 ms, so 70 pages delay a scheduled run by 1.4 s. The share of
background requests allows 40 pages beside 160 scheduled ones. If both took turns, more than 100 would go meanwhile."""


def caused_tick(config_id: int, **changes: Any) -> TickDue:
    """The tick of a trigger, or of a config that was created, or disabled and enabled again."""
    trigger = Trigger.MANUAL if config_id % 2 else Trigger.INITIAL
    return a_tick(config_id, **{"trigger": trigger, "deadline_seconds": 120, **changes})


def scheduled_tick(config_id: int) -> TickDue:
    return a_tick(config_id, trigger=Trigger.SCHEDULED, deadline_seconds=120)


async def schedule(
    publish: Publish, recorder: Recorder, *, turns: int = 6, configs: int = 5, first_config: int = 10_000
) -> list[TickDue]:
    """Some configs are due, and the next ones when their runs have ended. Returns the ticks of all."""
    ticks: list[TickDue] = []
    for turn in range(turns):
        due = [scheduled_tick(first_config + 1000 * turn + number) for number in range(configs)]
        await publish(*due)
        for tick in due:
            await recorder.await_event(RunFinished, partial(is_of, tick.run_id), within=30)
        ticks += due
    return ticks


def is_of(run_id: UUID, event: RunFinished) -> bool:
    return event.run_id == run_id


def initial_runs_meanwhile(ticks: list[TickDue], recorder: Recorder) -> int:
    """Number of initial runs that started between the slot of these ticks and the end of the last of their runs."""
    run_ids = {tick.run_id for tick in ticks}
    ended = max(end.finished_at for end in recorder.events(RunFinished) if end.run_id in run_ids)
    due = min(tick.scheduled_for for tick in ticks)
    starts = [start.started_at for start in recorder.events(RunStarted) if start.trigger is Trigger.INITIAL]
    return sum(due <= start <= ended for start in starts)


def check_lateness(ticks: list[TickDue], recorder: Recorder) -> None:
    started = {start.run_id: start.started_at for start in recorder.events(RunStarted)}
    ended = {end.run_id: end for end in recorder.events(RunFinished)}
    lateness = [(started[tick.run_id] - tick.scheduled_for).total_seconds() for tick in ticks]
    assert max(lateness) < MAX_LATENESS_SECONDS, lateness
    assert {ended[tick.run_id].status for tick in ticks} == {RunStatus.SUCCESS}


async def test_fifty_bulk_triggers_and_cycles_of_disable_and_enable_do_not_delay_the_schedule(
    start_process: Start, publish: Publish, recorder: Recorder
) -> None:
    """They are far more runs than the exchange's rate limit allows during the test."""
    async with start_process():
        for request in range(50):
            await publish(*(caused_tick(1 + request * 40 + number) for number in range(40)))
        await recorder.await_event(RunStarted, within=40)
        ticks = await schedule(publish, recorder)
        ends = [end for end in recorder.events(RunFinished) if end.trigger is not Trigger.SCHEDULED]
        assert 0 < len(ends) < 1500  # the others still wait
        check_lateness(ticks, recorder)
        meanwhile = [start for start in recorder.events(RunStarted) if start.started_at > ticks[0].scheduled_for]
        assert {start.trigger for start in meanwhile} == {Trigger.SCHEDULED, Trigger.MANUAL, Trigger.INITIAL}


async def test_two_thousand_configs_that_are_created_at_once_do_not_delay_the_other_configs_of_their_exchange(
    start_process: Start, publish: Publish, recorder: Recorder
) -> None:
    """Many configs are due at once. The test counts the initial runs that go before them, because their delay in
    seconds depends also on the speed of the machine.
    """
    async with start_process():
        await schedule(publish, recorder, turns=1)  # the first run reads the markets
        await publish(*(caused_tick(1 + number, trigger=Trigger.INITIAL) for number in range(2000)))
        await recorder.await_event(RunStarted, lambda start: start.trigger is Trigger.INITIAL, within=40)
        ticks = await schedule(publish, recorder, turns=1, configs=160)
        initial = [end for end in recorder.events(RunFinished) if end.trigger is Trigger.INITIAL]
        assert 0 < len(initial) < 1900  # the others still wait
        assert {end.status for end in recorder.events(RunFinished)} == {RunStatus.SUCCESS}
        assert initial_runs_meanwhile(ticks, recorder) <= MAX_INITIAL_RUNS_MEANWHILE


@pytest.mark.parametrize(("trigger", "places"), [(Trigger.MANUAL, 25), (Trigger.INITIAL, 4)])
async def test_slow_requested_runs_do_not_fill_the_lane(
    trigger: Trigger, places: int, start_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    await simulator.add_mood("latency", exchange="binance", symbol="ETH/USDT", latency_ms=100_000)
    async with start_process(REQUEST_TIMEOUT_SECONDS="110"):
        await publish(*(caused_tick(number, trigger=trigger, symbol="ETH/USDT") for number in range(1, 200)))
        await recorder.await_events(RunStarted, places, within=40)
        ticks = await schedule(publish, recorder)
        assert not [end for end in recorder.events(RunFinished) if end.trigger is not Trigger.SCHEDULED]
        check_lateness(ticks, recorder)
