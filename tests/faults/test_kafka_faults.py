"""Kafka dies and restarts; the connection to it loses all data, or only the responses, or is slow."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from contracts.configs import ConfigChanged
from contracts.event import Event
from contracts.runs import RunFinished, RunStarted
from contracts.ticks import TickDue
from contracts.topics import CANDLES, CONFIG_CHANGES, RUN_EVENTS, SCHEDULE_STATE, TICKS
from local_stack.keeper import KeptKafka
from support.faults.collect_evidence import read_events
from support.faults.forcing import until_forced
from support.faults.kafka_detour import kafka_detour, with_own_kafka
from support.faults.memory_use import growth_mib, resident_bytes
from support.faults.proxy import Proxy
from support.faults.system import RunningSystem, running_system
from support.whole_system import system_options

pytestmark = [
    pytest.mark.faults,
    pytest.mark.kafka,
    pytest.mark.real_kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(300),
]
SEED = 20_261_122
SERVICES = ("admin-api", "scheduler", "collector", "log-writer", "candle-writer", "backfiller")
MAX_GROWTH_MIB = 50.0
"""A service may grow by this much in half a minute without Kafka. Observed: 12 to 18, in the collector."""


@pytest.fixture(autouse=True)
def own_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setenv("CANDLEKEEP_KAFKA", "real")


@asynccontextmanager
async def behind_a_proxy(
    kafka: KeptKafka, database_url: str, folder: Path, **settings: str
) -> AsyncIterator[tuple[RunningSystem, Proxy]]:
    """All services connect to Kafka through the proxy; the checker connects directly."""
    async with kafka_detour() as (proxy, ports):
        options = with_own_kafka(system_options(kafka, database_url, folder), ports, settings)
        async with running_system(options, seed=SEED) as system:
            await system.create(30)
            await system.wait_until_recovered(within=60)  # every service has worked before its memory is measured
            yield system, proxy


async def test_nothing_is_lost_when_kafka_is_killed_and_down_for_half_a_minute(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    async with behind_a_proxy(kafka, database_url, tmp_path) as (system, _):
        before = resident_bytes(system.stack)
        await system.kill("kafka")
        await system.operate(seconds=25)
        await system.start("kafka")
        await recover(system, before)


async def test_nothing_is_lost_when_the_connection_to_kafka_is_a_black_hole(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    async with behind_a_proxy(kafka, database_url, tmp_path) as (system, proxy):
        before = resident_bytes(system.stack)
        proxy.set_mode("black hole")
        await system.operate(seconds=25)
        proxy.set_mode("reset")
        await asyncio.sleep(2)
        proxy.set_mode("pass")
        await recover(system, before)


@pytest.mark.timeout(600)
async def test_messages_that_are_sent_again_after_lost_responses_have_one_effect(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    short_timeouts = {"KAFKA_REQUEST_TIMEOUT_MS": "3000", "KAFKA_PUBLISH_TIMEOUT_SECONDS": "5"}
    async with behind_a_proxy(kafka, database_url, tmp_path, **short_timeouts) as (system, proxy):
        before = resident_bytes(system.stack)

        async def lose_responses() -> bool:
            proxy.set_mode("drop responses")
            for config_id in system.config_ids[:5]:
                await system.trigger(config_id)  # at once: only open connections still transfer messages to Kafka
            await system.operate(seconds=25)
            proxy.set_mode("pass")
            await system.wait_until_recovered(within=60)
            twice = await sent_twice(system)
            print(f"events that Kafka holds more than once: {dict(twice)}")
            return twice.total() > 0

        await until_forced("Kafka holds an event twice", lose_responses, tries=3)
        assert proxy.dropped_bytes > 0
        await recover(system, before)


async def test_a_slow_kafka_delays_and_loses_nothing(kafka: KeptKafka, database_url: str, tmp_path: Path) -> None:
    async with behind_a_proxy(kafka, database_url, tmp_path) as (system, proxy):
        before = resident_bytes(system.stack)
        proxy.set_mode("delay", seconds=0.4)
        await system.operate(seconds=25)
        proxy.set_mode("pass")
        await recover(system, before)


async def test_services_that_are_stopped_without_kafka_exit_properly_and_start_again(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    async with behind_a_proxy(kafka, database_url, tmp_path) as (system, proxy):
        proxy.set_mode("black hole")
        await asyncio.sleep(3)
        codes = await asyncio.gather(*(stop_and_start(system, name) for name in SERVICES))
        assert dict(zip(SERVICES, codes, strict=True)) == dict.fromkeys(SERVICES, 0)
        proxy.set_mode("reset")
        await asyncio.sleep(2)
        proxy.set_mode("pass")
        await system.judge()


async def stop_and_start(system: RunningSystem, name: str) -> int | None:
    """Returns the exit code. Does not wait until the service is ready, because it needs Kafka for that."""
    keeper = system.stack.processes[name]
    child = keeper.running.child
    await keeper.stop()
    await keeper.start()
    return None if child is None else child.exit_code


async def recover(system: RunningSystem, before: dict[str, int]) -> None:
    growth = growth_mib(before, resident_bytes(system.stack))
    print(f"growth_mib by, in MiB: {growth}")
    await system.judge()
    assert await outbox_is_empty(system)
    assert max(growth.values()) < MAX_GROWTH_MIB, growth


async def outbox_is_empty(system: RunningSystem) -> bool:
    connection = await asyncpg.connect(system.database_url)
    try:
        waiting = await connection.fetchval("SELECT count(*) FROM outbox")
    finally:
        await connection.close()
    assert waiting == 0, f"{waiting} changes are not published"
    return True


async def sent_twice(system: RunningSystem) -> Counter[str]:
    """By topic, the number of events that repeat another event."""
    twice: Counter[str] = Counter()
    for topic in (CONFIG_CHANGES, TICKS, SCHEDULE_STATE, RUN_EVENTS, CANDLES):
        seen: Counter[object] = Counter()
        for event in await read_events(system.stack.kafka, system.stack.options.topic_prefix, topic):
            seen[identity_of(event)] += 1
        twice[topic.name] = sum(count - 1 for count in seen.values())
    return +twice


def identity_of(event: Event) -> object:
    if isinstance(event, ConfigChanged):
        return event.config.config_id, event.config.version
    if isinstance(event, TickDue | RunStarted | RunFinished):
        return event.type, event.run_id
    return event.event_id
