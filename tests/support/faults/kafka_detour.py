"""A proxy for a Kafka of a test's own: what comes by it stays on it, what comes directly does not notice it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from local_stack.kafka_properties import Detour, KafkaPorts
from local_stack.plan import Ports
from local_stack.ports import LOOPBACK, free_port
from local_stack.stack import StackOptions
from support.faults.proxy import Proxy, proxying


@asynccontextmanager
async def kafka_detour() -> AsyncIterator[tuple[Proxy, KafkaPorts]]:
    """A proxy, and the ports with which a real Kafka is to be started behind it."""
    behind = free_port()
    async with proxying(LOOPBACK, behind) as proxy:
        yield proxy, KafkaPorts(free_port(), free_port(), Detour(behind, proxy.listens_on))


def with_kafka_of_its_own(
    options: StackOptions, ports: KafkaPorts, settings: Mapping[str, str] | None = None
) -> StackOptions:
    """The same stack on a real Kafka that nobody else uses; all its services come by the detour."""
    detour = {"KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{ports.detour.advertised}"} if ports.detour else {}
    everybody = {**options.overrides.get("*", {}), **detour, **(settings or {})}
    return replace(
        options,
        kafka=None,
        ports=replace(Ports.free(), kafka=ports),
        overrides={**options.overrides, "*": everybody},
    )
