"""Kafka dies and comes back; the way to it swallows everything, or only the answers, or is slow."""

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
from support.faults.forcing import until_forced
from support.faults.gather import read_events
from support.faults.kafka_detour import kafka_detour, with_kafka_of_its_own
from support.faults.memory import grown, resident
from support.faults.proxy import Proxy
from support.faults.system import Operated, operated
from support.whole_system import system_options

pytestmark = [
    pytest.mark.faults,
    pytest.mark.kafka,
    pytest.mark.real_kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(300),
]
SEED = 20_261_122
OURS = ("admin-api", "scheduler", "collector", "log-writer", "candle-writer")
MOST_GROWTH = 50.0
"""Mebibytes that a service may grow in half a minute without Kafka. Seen: 12 to 18, of the collector."""


@pytest.fixture(autouse=True)
def kafka_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setenv("CANDLEKEEP_KAFKA", "real")


@asynccontextmanager
async def behind_a_proxy(
    kafka: KeptKafka, database_url: str, folder: Path, **settings: str
) -> AsyncIterator[tuple[Operated, Proxy]]:
    """All services come to Kafka by the proxy; what judges them comes directly."""
    async with kafka_detour() as (proxy, ports):
        options = with_kafka_of_its_own(system_options(kafka, database_url, folder), ports, settings)
        async with operated(options, seed=SEED) as system:
            await system.create(30)
            await system.recovered(within=60)  # everybody has worked before memory is measured
            yield system, proxy


async def test_nothing_is_lost_when_kafka_is_killed_and_away_for_half_a_minute(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    async with behind_a_proxy(kafka, database_url, tmp_path) as (system, _):
        before = resident(system.stack)
        await system.kill("kafka")
        await system.operate(seconds=25)
        await system.revive("kafka")
        await recover(system, before)


async def test_nothing_is_lost_when_the_way_to_kafka_is_a_black_hole(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    async with behind_a_proxy(kafka, database_url, tmp_path) as (system, proxy):
        before = resident(system.stack)
        proxy.be("black hole")
        await system.operate(seconds=25)
        proxy.be("reset")
        await asyncio.sleep(2)
        proxy.be("pass")
        await recover(system, before)


@pytest.mark.timeout(600)
async def test_what_is_sent_again_because_kafka_was_not_heard_has_one_effect(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    impatient = {"KAFKA_REQUEST_TIMEOUT_MS": "3000", "KAFKA_PUBLISH_TIMEOUT_SECONDS": "5"}
    async with behind_a_proxy(kafka, database_url, tmp_path, **impatient) as (system, proxy):
        before = resident(system.stack)

        async def unheard() -> bool:
            proxy.be("swallow answers")
            for config_id in system.config_ids[:5]:
                await system.trigger(config_id)  # at once: only connections that are open still take messages to Kafka
            await system.operate(seconds=25)
            proxy.be("pass")
            await system.recovered(within=60)
            twice = await sent_twice(system)
            print(f"on the wire more than once: {dict(twice)}")
            return twice.total() > 0

        await until_forced("Kafka holds something twice", unheard, tries=3)
        assert proxy.swallowed > 0
        await recover(system, before)


async def test_a_slow_kafka_delays_and_loses_nothing(kafka: KeptKafka, database_url: str, tmp_path: Path) -> None:
    async with behind_a_proxy(kafka, database_url, tmp_path) as (system, proxy):
        before = resident(system.stack)
        proxy.be("delay", seconds=0.4)
        await system.operate(seconds=25)
        proxy.be("pass")
        await recover(system, before)


async def test_services_that_are_stopped_without_kafka_go_in_good_order_and_come_back(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    async with behind_a_proxy(kafka, database_url, tmp_path) as (system, proxy):
        proxy.be("black hole")
        await asyncio.sleep(3)
        codes = await asyncio.gather(*(stop_and_start(system, name) for name in OURS))
        assert dict(zip(OURS, codes, strict=True)) == dict.fromkeys(OURS, 0)
        proxy.be("reset")
        await asyncio.sleep(2)
        proxy.be("pass")
        await system.judge()


async def stop_and_start(system: Operated, name: str) -> int | None:
    """Returns the exit code. It is not waited for until it is ready: it cannot be."""
    kept = system.stack.processes[name]
    child = kept.running.child
    await kept.stop()
    await kept.start()
    return None if child is None else child.exit_code


async def recover(system: Operated, before: dict[str, int]) -> None:
    growth = grown(before, resident(system.stack))
    print(f"grown by, in MiB: {growth}")
    await system.judge()
    assert await outbox_is_empty(system)
    assert max(growth.values()) < MOST_GROWTH, growth


async def outbox_is_empty(system: Operated) -> bool:
    connection = await asyncpg.connect(system.database_url)
    try:
        waiting = await connection.fetchval("SELECT count(*) FROM outbox")
    finally:
        await connection.close()
    assert waiting == 0, f"{waiting} changes wait"
    return True


async def sent_twice(system: Operated) -> Counter[str]:
    """By topic, how many of its events say what another has said."""
    twice: Counter[str] = Counter()
    for topic in (CONFIG_CHANGES, TICKS, SCHEDULE_STATE, RUN_EVENTS, CANDLES):
        seen: Counter[object] = Counter()
        for event in await read_events(system.stack.kafka, system.stack.options.topic_prefix, topic):
            seen[what_it_says(event)] += 1
        twice[topic.name] = sum(count - 1 for count in seen.values())
    return +twice


def what_it_says(event: Event) -> object:
    if isinstance(event, ConfigChanged):
        return event.config.config_id, event.config.version
    if isinstance(event, TickDue | RunStarted | RunFinished):
        return event.type, event.run_id
    return event.event_id
