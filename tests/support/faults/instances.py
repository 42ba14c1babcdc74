"""Several instances of a role: add, remove and stall them, and read which work each one has."""

import asyncio
import contextlib
import itertools
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from contracts.schedule import JobScheduled
from contracts.topics import SCHEDULE_STATE
from support.faults.collect_evidence import read_events
from support.faults.system import RunningSystem
from support.polling import eventually

INSTANCE_COUNTS = {"admin-api": 2, "scheduler": 3, "collector": 3, "log-writer": 2, "candle-writer": 2, "backfiller": 2}
"""Several of every service; three of those that exchange partitions with each other."""

_RELAY = "candlekeep_relay_active"
_PARTITIONS = "candlekeep_scheduler_partitions_live"


def instances(system: RunningSystem, role: str) -> list[str]:
    return [service.name for service in system.stack.services.values() if service.role.name == role]


def use_api_instance(system: RunningSystem, process: str) -> None:
    """Send the operator's further requests to this instance."""
    url = system.api.base_url
    system.api.base_url = url.copy_with(port=system.stack.services[process].port)


async def add_instance(system: RunningSystem, role: str) -> str:
    name = await system.stack.add(role)
    system.record_fault("added", name)
    return name


async def remove_instance(system: RunningSystem, process: str) -> int | None:
    """Stop it with SIGTERM. Returns its exit code."""
    system.record_fault("removed", process)
    return await system.stack.remove(process)


@asynccontextmanager
async def stalled(system: RunningSystem, process: str) -> AsyncIterator[None]:
    """Stall the process until the block ends. Its connections stay open, as on a virtual machine that is paused."""
    system.send_signal(process, signal.SIGSTOP)
    try:
        yield
    finally:
        system.send_signal(process, signal.SIGCONT)


async def read_metric(system: RunningSystem, process: str, metric: str) -> float | None:
    """The metric's value. None if the process does not respond, or does not have that metric."""
    with contextlib.suppress(httpx.HTTPError):
        async with httpx.AsyncClient(base_url=system.stack.services[process].url, timeout=1, verify=False) as http:
            lines = (await http.get("/metrics")).text.splitlines()
        return next((float(line.split()[1]) for line in lines if line.startswith(f"{metric} ")), None)
    return None


async def active_relay(system: RunningSystem, *, excluding: str = "") -> str:
    """The one instance whose relay is active. Raises AssertionError if there is none, or more than one."""
    names = [name for name in instances(system, "admin-api") if name != excluding]
    active = [name for name in names if await read_metric(system, name, _RELAY) == 1]
    assert len(active) == 1, f"active relays: {active}"
    return active[0]


async def live_partitions(system: RunningSystem) -> dict[str, int]:
    """The number of live partitions per scheduler; 0 if the scheduler does not respond."""
    names = instances(system, "scheduler")
    return {name: int(await read_metric(system, name, _PARTITIONS) or 0) for name in names}


async def wait_for_partitions(system: RunningSystem, *expected: int, within: float = 30.0) -> dict[str, int]:
    """Wait until the schedulers have these numbers of live partitions, in any order."""

    async def distributed() -> dict[str, int]:
        found = await live_partitions(system)
        assert sorted(found.values()) == sorted(expected), f"live partitions: {found}"
        return found

    return await eventually(distributed, within=within, every=0.2)


@dataclass
class Offsets:
    """The committed offsets of consumer groups, and every commit that moved an offset back."""

    committed: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """By group, topic and partition."""
    moved_back: list[str] = field(default_factory=list)

    def record(self, group: str, topic: str, partition: int, offset: int) -> None:
        key = (group, topic, partition)
        if offset < (before := self.committed.get(key, 0)):
            self.moved_back.append(f"{group}: {topic}/{partition} from {before} to {offset}")
        self.committed[key] = offset


@asynccontextmanager
async def watch_offsets(system: RunningSystem, *groups: str) -> AsyncIterator[Offsets]:
    """Poll the groups' commits twice a second until the block ends."""
    offsets, prefix = Offsets(), system.stack.options.topic_prefix
    admin = AIOKafkaAdminClient(bootstrap_servers=system.stack.kafka)
    await admin.start()

    async def poll() -> None:
        while True:
            for group in groups:
                with contextlib.suppress(KafkaError):
                    found = await admin.list_consumer_group_offsets(f"{prefix}{group}")
                    for place, known in found.items():
                        offsets.record(group, place.topic, place.partition, known.offset)
            await asyncio.sleep(0.5)

    polling = asyncio.create_task(poll())
    try:
        yield offsets
    finally:
        polling.cancel()
        await asyncio.wait([polling])
        await admin.close()


async def schedule_states_out_of_order(system: RunningSystem) -> list[str]:
    """Configs with a state whose slot is before the slot of an earlier state.

    Only a scheduler that has been replaced can publish such a state.
    """
    slots: dict[int, list[JobScheduled]] = defaultdict(list)
    for event in await read_events(system.stack.kafka, system.stack.options.topic_prefix, SCHEDULE_STATE):
        if isinstance(event, JobScheduled) and event.last_slot is not None:
            slots[event.config_id].append(event)
    return [
        f"config {config_id}: {later.last_slot} after {earlier.last_slot}"
        for config_id, states in slots.items()
        for earlier, later in itertools.pairwise(states)
        if later.last_slot is not None and earlier.last_slot is not None and later.last_slot < earlier.last_slot
    ]
