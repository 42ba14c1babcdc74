"""A cluster of three real brokers, so that leaders of partitions and coordinators of groups can move."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from local_stack.kafka_properties import KafkaPorts, Member
from local_stack.kafka_real import RealKafka, new_cluster_id
from local_stack.ports import LOOPBACK, free_port
from support.polling import eventually

BROKERS = 3


@dataclass
class KafkaCluster:
    """Brokers by number, from 1. The first one is the only controller, so a test must not stop it."""

    folder: Path
    ports: dict[int, KafkaPorts]
    cluster_id: str = field(default_factory=new_cluster_id)
    running: dict[int, RealKafka] = field(default_factory=dict)

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{LOOPBACK}:{ports.broker}" for ports in self.ports.values())

    async def start(self, number: int) -> None:
        place = self.folder / f"broker-{number}"
        member = Member(number, BROKERS, self.ports[1].controller, self.cluster_id)
        self.running[number] = await RealKafka.start(
            data=place / "data", logs=place / "logs", run=place / "run", ports=self.ports[number], member=member
        )

    async def kill(self, number: int) -> None:
        child = self.running.pop(number).child
        child.kill()
        await child.wait()

    async def stop(self, number: int) -> None:
        """Stop the broker with SIGTERM. It hands its leaderships over first."""
        await self.running.pop(number).stop()

    async def wait_until_in_sync(self, within: float) -> None:
        """Wait until every broker is an in-sync replica of every partition."""
        admin = AIOKafkaAdminClient(bootstrap_servers=f"{LOOPBACK}:{self.ports[1].broker}")
        await admin.start()

        async def in_sync() -> bool:
            topics = await admin.describe_topics()
            behind = [
                f"{topic['topic']}-{partition['partition']}"
                for topic in topics
                for partition in topic["partitions"]
                if len(partition["isr"]) < BROKERS
            ]
            assert not behind, f"{len(behind)} partitions are not in sync on all brokers: {behind[:5]}"
            return True

        try:
            await eventually(in_sync, within=within, every=0.5)
        finally:
            await admin.close()


@asynccontextmanager
async def three_brokers(folder: Path) -> AsyncIterator[KafkaCluster]:
    """A running cluster, which is stopped afterwards. Raises `NoRealKafka` if there is no Java."""
    cluster = KafkaCluster(folder, {number: KafkaPorts(free_port(), free_port()) for number in range(1, BROKERS + 1)})
    try:
        await cluster.start(1)
        await asyncio.gather(*(cluster.start(number) for number in range(2, BROKERS + 1)))
        yield cluster
    finally:
        for number in sorted(cluster.running, reverse=True):  # the controller last: the others deregister with it
            cluster.running[number].child.kill()
            await cluster.running[number].child.wait()
