"""A few unreadable messages among many others, and some behind the runs of a slow exchange."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.topics import CANDLES, CONFIG_CHANGES, RUN_EVENTS, SCHEDULE_STATE, TICKS
from local_stack.keeper import KeptKafka
from support.faults.process_state import metrics_of
from support.faults.replay import send_records
from support.faults.system import RunningSystem, running_system
from support.faults.topic_records import read_records
from support.faults.unreadable_messages import SMALL_UNREADABLE, UNREADABLE, unreadable_sender
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]
SEED = 20_261_122
TOPICS = (TICKS, RUN_EVENTS, CANDLES, CONFIG_CHANGES, SCHEDULE_STATE)
ONE_PLACE = {"MAX_SHARED_RUNS": "1", "MAX_RUNS_PER_LANE": "1", "RESERVED_RUNS_PER_LANE": "1"}


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[RunningSystem]:
    async with running_system(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        await running.create(30)
        yield running


@pytest.mark.faults_short
async def test_unreadable_messages_become_dead_letters_and_all_other_work_continues(system: RunningSystem) -> None:
    async with unreadable_sender(system) as sender:
        for topic in (TICKS, RUN_EVENTS, CANDLES):
            for value in UNREADABLE:
                await sender.send(topic, value, partition=system.random.randrange(topic.partitions))
    evidence = await system.judge()
    assert len(evidence.dead_letters) >= len(evidence.unreadable) == 3 * len(UNREADABLE)


async def test_under_load_unreadable_messages_become_dead_letters_in_time_in_every_topic(system: RunningSystem) -> None:
    await system.wait_until_recovered(within=60)
    async with unreadable_sender(system) as sender:
        for topic in TOPICS:
            readable = await read_records(system.stack, topic)
            for number in range(4):
                load = system.random.choices(readable, k=100)
                await send_records(system, topic, load)
                partition = system.random.choice(load).partition
                await sender.send(topic, SMALL_UNREADABLE[number], partition=partition)
    evidence = await system.judge()
    assert len(evidence.unreadable_sent_at) == 4 * len(TOPICS)


async def test_unreadable_messages_do_not_wait_behind_the_runs_of_a_slow_exchange(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    options = system_options(kafka, database_url, tmp_path)
    options = replace(options, overrides={**options.overrides, "collector": ONE_PLACE})
    async with running_system(options, seed=SEED) as system:
        await system.mood("latency", exchange="binance", latency_ms=6000)
        await system.create(30)
        await eventually(lambda: waiting_in_lanes(system), within=30)
        slow = next(tick.partition for tick in await read_records(system.stack, TICKS) if tick.key == b"binance")
        async with unreadable_sender(system) as sender:
            for value in SMALL_UNREADABLE:
                await sender.send(TICKS, value, partition=slow, key=b"binance")
        await asyncio.sleep(6)  # more than the allowed time, while the exchange is still slow
        await system.mood("ok")
        evidence = await system.judge()
        assert len(evidence.unreadable_sent_at) == len(SMALL_UNREADABLE)


async def waiting_in_lanes(system: RunningSystem) -> bool:
    metrics = await metrics_of(system, "collector")
    waiting = next(line for line in metrics.splitlines() if line.startswith("candlekeep_consumer_waiting{"))
    assert float(waiting.split()[-1]) > 2, waiting
    return True
