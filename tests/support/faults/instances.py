"""Several instances of a role: who does what, more of them, fewer of them, and one that stands still."""

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
from support.faults.gather import read_events
from support.faults.system import Operated
from support.polling import eventually

SEVERAL = {"admin-api": 2, "scheduler": 3, "collector": 3, "log-writer": 2, "candle-writer": 2}
"""Of everything; three of those whose partitions go from one to the other."""

_RELAY = "candlekeep_relay_active"
_PARTITIONS = "candlekeep_scheduler_partitions_live"


def instances(system: Operated, role: str) -> list[str]:
    return [service.name for service in system.stack.services.values() if service.role.name == role]


def use_api(system: Operated, process: str) -> None:
    """The operator asks this instance from here on."""
    url = system.api.base_url
    system.api.base_url = url.copy_with(port=system.stack.services[process].port)


async def add(system: Operated, role: str) -> str:
    name = await system.stack.add(role)
    system.fault("added", name)
    return name


async def remove(system: Operated, process: str) -> int | None:
    """Stop it well. Returns its exit code."""
    system.fault("removed", process)
    return await system.stack.remove(process)


@asynccontextmanager
async def standing_still(system: Operated, process: str) -> AsyncIterator[None]:
    """It does nothing at all, and its connections stay open: as a machine that is starved, or paused by its host."""
    system.send(process, signal.SIGSTOP)
    try:
        yield
    finally:
        system.send(process, signal.SIGCONT)


async def measured(system: Operated, process: str, metric: str) -> float | None:
    """None when it does not answer, or does not have that metric."""
    with contextlib.suppress(httpx.HTTPError):
        async with httpx.AsyncClient(base_url=system.stack.services[process].url, timeout=1) as http:
            lines = (await http.get("/metrics")).text.splitlines()
        return next((float(line.split()[1]) for line in lines if line.startswith(f"{metric} ")), None)
    return None


async def relaying(system: Operated, *, but: str = "") -> str:
    """The one instance whose relay sends; an AssertionError while it is none, or more than one."""
    names = [name for name in instances(system, "admin-api") if name != but]
    active = [name for name in names if await measured(system, name, _RELAY) == 1]
    assert len(active) == 1, f"these relays send: {active}"
    return active[0]


async def shares(system: Operated) -> dict[str, int]:
    """Partitions that each scheduler ticks for; who does not answer has none."""
    names = instances(system, "scheduler")
    return {name: int(await measured(system, name, _PARTITIONS) or 0) for name in names}


async def shared_out(system: Operated, *expected: int, within: float = 30.0) -> dict[str, int]:
    """Wait until the schedulers hold so many partitions each."""

    async def fair() -> dict[str, int]:
        found = await shares(system)
        assert sorted(found.values()) == sorted(expected), f"live partitions: {found}"
        return found

    return await eventually(fair, within=within, every=0.2)


@dataclass
class Offsets:
    """What consumer groups have committed, and where a commit went back."""

    committed: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """By group, topic and partition."""
    went_back: list[str] = field(default_factory=list)

    def see(self, group: str, topic: str, partition: int, offset: int) -> None:
        place = (group, topic, partition)
        if offset < (before := self.committed.get(place, 0)):
            self.went_back.append(f"{group}: {topic}/{partition} from {before} to {offset}")
        self.committed[place] = offset


@asynccontextmanager
async def watching_offsets(system: Operated, *groups: str) -> AsyncIterator[Offsets]:
    """Look at the groups' commits twice a second until the block ends."""
    offsets, prefix = Offsets(), system.stack.options.topic_prefix
    admin = AIOKafkaAdminClient(bootstrap_servers=system.stack.kafka)
    await admin.start()

    async def look() -> None:
        while True:
            for group in groups:
                with contextlib.suppress(KafkaError):
                    found = await admin.list_consumer_group_offsets(f"{prefix}{group}")
                    for place, known in found.items():
                        offsets.see(group, place.topic, place.partition, known.offset)
            await asyncio.sleep(0.5)

    looking = asyncio.create_task(look())
    try:
        yield offsets
    finally:
        looking.cancel()
        await asyncio.wait([looking])
        await admin.close()


async def schedules_that_went_back(system: Operated) -> list[str]:
    """Configs whose state in the log has a slot before one that was said earlier: a scheduler spoke that had been
    replaced.
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
