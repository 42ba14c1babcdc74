"""Of three brokers one goes at a time, so that leaders and coordinators move; or two, and too few replicas are left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from local_stack.kafka_provider import ExistingKafka
from local_stack.keeper import KeptKafka
from support.faults.kafka_cluster import KafkaCluster, three_brokers
from support.faults.system import Operated, operated
from support.whole_system import system_options

pytestmark = [
    pytest.mark.faults,
    pytest.mark.kafka,
    pytest.mark.real_kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(400),
]
SEED = 20_261_122


@asynccontextmanager
async def on_three_brokers(
    kafka: KeptKafka, database_url: str, folder: Path
) -> AsyncIterator[tuple[Operated, KafkaCluster]]:
    async with three_brokers(folder / "kafka") as cluster:
        options = system_options(kafka, database_url, folder / "system")
        options = replace(options, kafka=ExistingKafka(cluster.bootstrap))
        async with operated(options, seed=SEED) as system:
            await system.create(30)
            await system.recovered(within=60)
            await cluster.all_in_sync(within=30)
            yield system, cluster


async def test_one_broker_at_a_time_is_killed_or_stopped_and_everything_goes_on_with_the_others(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    async with on_three_brokers(kafka, database_url, tmp_path) as (system, cluster):
        for number, end in ((2, cluster.kill), (3, cluster.stop)):
            await end(number)
            system.fault(f"broker {number} is gone", "kafka")
            await system.operate(seconds=10)
            await system.recovered(within=60)  # though it does not come back
            await cluster.start(number)
            system.fault(f"broker {number} is back", "kafka")
            await cluster.all_in_sync(within=60)
        await system.judge()


async def test_when_too_few_replicas_are_left_to_acknowledge_nothing_is_taken_for_written(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    async with on_three_brokers(kafka, database_url, tmp_path) as (system, cluster):
        await asyncio.gather(cluster.kill(2), cluster.kill(3))
        system.fault("two of three brokers are gone", "kafka")
        await system.operate(seconds=30)
        await asyncio.gather(cluster.start(2), cluster.start(3))
        system.fault("all brokers are back", "kafka")
        await cluster.all_in_sync(within=60)
        await system.judge()
