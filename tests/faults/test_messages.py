"""Messages that nobody can read: a few among many, and so many that the fault must be the reader's."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.topics import CANDLES, CONFIG_CHANGES, RUN_EVENTS, SCHEDULE_STATE, TICKS
from local_stack.keeper import KeptKafka
from support.faults.poison import POISON, SMALL_POISON, poisoning
from support.faults.probing import metrics_of
from support.faults.records import read_records
from support.faults.replaying import send
from support.faults.system import Operated, operated
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]
SEED = 20_261_122
TOPICS = (TICKS, RUN_EVENTS, CANDLES, CONFIG_CHANGES, SCHEDULE_STATE)
ONE_PLACE = {"MAX_SHARED_RUNS": "1", "MAX_RUNS_PER_LANE": "1", "RESERVED_RUNS_PER_LANE": "1"}


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[Operated]:
    async with operated(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        await running.create(30)
        yield running


@pytest.mark.faults_short
async def test_poison_is_put_aside_and_everything_else_goes_on(system: Operated) -> None:
    async with poisoning(system) as poisoner:
        for topic in (TICKS, RUN_EVENTS, CANDLES):
            for value in POISON:
                await poisoner.send(topic, value, partition=system.random.randrange(topic.partitions))
    evidence = await system.judge()
    assert len(evidence.letters) >= len(evidence.poison) == 3 * len(POISON)


async def test_a_hundredth_of_poison_under_load_is_put_aside_in_time_in_every_topic(system: Operated) -> None:
    await system.recovered(within=60)
    async with poisoning(system) as poisoner:
        for topic in TOPICS:
            good = await read_records(system.stack, topic)
            for number in range(4):
                load = system.random.choices(good, k=100)
                await send(system, topic, load)
                partition = system.random.choice(load).partition
                await poisoner.send(topic, SMALL_POISON[number], partition=partition)
    evidence = await system.judge()
    assert len(evidence.poisoned_at) == 4 * len(TOPICS)


async def test_poison_does_not_wait_behind_the_runs_of_a_slow_exchange(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    options = system_options(kafka, database_url, tmp_path)
    options = replace(options, overrides={**options.overrides, "collector": ONE_PLACE})
    async with operated(options, seed=SEED) as system:
        await system.mood("latency", exchange="binance", latency_ms=6000)
        await system.create(30)
        await eventually(lambda: waiting_in_lanes(system), within=30)
        slow = next(tick.partition for tick in await read_records(system.stack, TICKS) if tick.key == b"binance")
        async with poisoning(system) as poisoner:
            for value in SMALL_POISON:
                await poisoner.send(TICKS, value, partition=slow, key=b"binance")
        await asyncio.sleep(6)  # so long it may take, and the exchange is as slow as ever
        await system.mood("ok")
        evidence = await system.judge()
        assert len(evidence.poisoned_at) == len(SMALL_POISON)


async def waiting_in_lanes(system: Operated) -> bool:
    metrics = await metrics_of(system, "collector")
    waiting = next(line for line in metrics.splitlines() if line.startswith("candlekeep_consumer_waiting{"))
    assert float(waiting.split()[-1]) > 2, waiting
    return True
