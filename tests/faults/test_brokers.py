"""One of three brokers fails, so that leaders and coordinators move; or two fail, and too few replicas remain."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from local_stack.kafka_provider import ExistingKafka
from local_stack.keeper import KeptKafka
from support.faults.kafka_cluster import KafkaCluster, three_brokers
from support.faults.system import RunningSystem, running_system
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
) -> AsyncIterator[tuple[RunningSystem, KafkaCluster]]:
    async with three_brokers(folder / "kafka") as cluster:
        options = system_options(kafka, database_url, folder / "system")
        options = replace(options, kafka=ExistingKafka(cluster.bootstrap))
        async with running_system(options, seed=SEED) as system:
            await system.create(30)
            await system.wait_until_recovered(within=60)
            await cluster.wait_until_in_sync(within=30)
            yield system, cluster


async def test_when_one_broker_is_killed_or_stopped_the_system_continues_with_the_others(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    async with on_three_brokers(kafka, database_url, tmp_path) as (system, cluster):
        for number, end_broker in ((2, cluster.kill), (3, cluster.stop)):
            await end_broker(number)
            system.record_fault(f"broker {number} is down", "kafka")
            await system.operate(seconds=10)
            await system.wait_until_recovered(within=60)  # while the broker is down
            await cluster.start(number)
            system.record_fault(f"broker {number} is up", "kafka")
            await cluster.wait_until_in_sync(within=60)
        await system.judge()


async def test_nothing_is_lost_when_too_few_replicas_remain_to_acknowledge(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    async with on_three_brokers(kafka, database_url, tmp_path) as (system, cluster):
        await asyncio.gather(cluster.kill(2), cluster.kill(3))
        system.record_fault("two of three brokers are down", "kafka")
        await system.operate(seconds=30)
        await asyncio.gather(cluster.start(2), cluster.start(3))
        system.record_fault("all brokers are up", "kafka")
        await cluster.wait_until_in_sync(within=60)
        await system.judge()
