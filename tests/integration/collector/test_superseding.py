"""An exchange that does not respond has more waiting ticks than a collector keeps. Its lane shares a partition."""

import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from aiokafka.partitioner import murmur2

from contracts.runs import RunFinished, RunStarted
from contracts.ticks import TickDue
from contracts.topics import TICKS
from contracts.vocabulary import ErrorClass, RunStatus, Trigger
from support.collecting import Simulator, a_tick
from support.kafka import Recorder

pytestmark = [pytest.mark.kafka, pytest.mark.real_kafka]  # the in-memory broker has another partitioner

NOON = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
HEALTHY, DEAD = "okx", "kraken#34"
"""Two lanes of one partition."""
CONFIGS, SLOTS = 8, 200

Publish = Callable[..., Any]
Start = Callable[..., AbstractAsyncContextManager[Any]]


def is_of(run_id: UUID, event: RunFinished) -> bool:
    return event.run_id == run_id


def partition_of(lane: str) -> int:
    return int(murmur2(lane.encode()) & 0x7FFFFFFF) % TICKS.partitions


def waiting_tick(config_id: int, slot: int) -> TickDue:
    """No run of the config has ended, so all its ticks continue at the same candle."""
    return a_tick(
        config_id,
        exchange="kraken",
        lane=DEAD,
        trigger=Trigger.SCHEDULED,
        scheduled_for=NOON + timedelta(minutes=slot),
        collected_until=NOON - timedelta(hours=6),
        deadline_seconds=120,
    )


async def test_a_dead_exchange_delays_no_other_lane_and_loses_no_work_although_its_collector_dies(
    start_process: Start, start_in_process: Start, publish: Publish, recorder: Recorder, simulator: Simulator
) -> None:
    assert partition_of(HEALTHY) == partition_of(DEAD)
    await simulator.add_mood("latency", exchange="kraken", latency_ms=60_000)
    ticks = [waiting_tick(config_id, slot) for slot in range(SLOTS) for config_id in range(1, CONFIGS + 1)]
    healthy = [a_tick(100 + number, exchange=HEALTHY) for number in range(5)]
    limits = {"MAX_RUNS_PER_LANE": "2", "RESERVED_RUNS_PER_LANE": "2", "REQUEST_TIMEOUT_SECONDS": "100"}
    async with start_process(**limits) as process:
        await publish(ticks[0])
        await recorder.await_event(RunStarted, within=40)
        for number, quick in enumerate(healthy):
            part = len(ticks) // len(healthy)
            await publish(*ticks[1:][number * part : (number + 1) * part], quick)
            end = await recorder.await_event(RunFinished, partial(is_of, quick.run_id), within=20)
            assert end.status is RunStatus.SUCCESS
        await recorder.await_events(RunFinished, len(healthy) + len(ticks) - 2 * 2 * CONFIGS, within=20)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await simulator.clear_moods()
    async with start_in_process(**limits):
        for tick in ticks:
            await recorder.await_event(RunFinished, partial(is_of, tick.run_id), within=60)
    check(ticks, recorder.events(RunFinished))


def check(ticks: list[TickDue], ends: list[RunFinished]) -> None:
    """Every tick was collected from its start, by its own run or by another one of its config.

    A run that takes a free place while another one of its config still runs is skipped in its favour.
    """
    by_id = {tick.run_id: tick for tick in ticks}
    collected = [end for end in ends if end.run_id in by_id and end.status is RunStatus.SUCCESS]
    superseded = [end for end in ends if end.error_class is ErrorClass.SUPERSEDED]
    overlapping = [end for end in ends if end.error_class is ErrorClass.ALREADY_RUNNING]
    assert {end.run_id for end in (*collected, *superseded, *overlapping)} >= by_id.keys()
    for end in overlapping:
        assert any(f"run {other.run_id} of" in (end.error_message or "") for other in collected), end
    assert len(collected) < 6 * CONFIGS
    for tick in ticks:
        first_opens = [
            end.results[0].first_open for end in collected if end.config_id == tick.config.config_id and end.results
        ]
        anchor = tick.progress_of("1m").anchor
        assert anchor is not None
        assert any(first is not None and first <= anchor for first in first_opens), tick
    for end in superseded:
        [newer] = [tick for tick in ticks if str(tick.run_id) in (end.error_message or "")]
        assert newer.config.config_id == end.config_id
        assert newer.scheduled_for > end.scheduled_for
