"""A proxy before the Kafka of one test. Clients that connect through the proxy stay on it; others do not use it."""

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
    """A proxy, and the ports with which to start a real Kafka behind it."""
    behind = free_port()
    async with proxying(LOOPBACK, behind) as proxy:
        yield proxy, KafkaPorts(free_port(), free_port(), Detour(behind, proxy.listens_on))


def with_own_kafka(options: StackOptions, ports: KafkaPorts, settings: Mapping[str, str] | None = None) -> StackOptions:
    """Return the same options with a real Kafka that no other test uses. All services use its detour."""
    detour = {"KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{ports.detour.advertised}"} if ports.detour else {}
    every_service = {**options.overrides.get("*", {}), **detour, **(settings or {})}
    return replace(
        options,
        kafka=None,
        ports=replace(Ports.free(), kafka=ports),
        overrides={**options.overrides, "*": every_service},
    )
