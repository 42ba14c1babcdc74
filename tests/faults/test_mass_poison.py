"""So many unreadable messages that the fault must be the reader's: it stops, says so, and puts no more aside."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, OffsetAndMetadata

from contracts.dead_letters import DeadLetter
from contracts.topics import CANDLES, CONFIG_CHANGES, DEAD_LETTERS, RUN_EVENTS, TICKS, Topic
from local_stack.keeper import KeptKafka
from support.faults.gather import read_events
from support.faults.poison import poisoning
from support.faults.probing import is_live, metrics_of, not_ready_because, said
from support.faults.replaying import partitions_of
from support.faults.system import Operated, operated
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]
SEED = 20_261_122
MOST = 50
"""DEAD_LETTERS_MAX_CONSECUTIVE, where nothing else is set."""
WITHOUT_LIMITS = {
    "DEAD_LETTERS_MAX_CONSECUTIVE_AT_START": "100000",
    "DEAD_LETTERS_MAX_CONSECUTIVE": "100000",
    "DEAD_LETTERS_MAX_SHARE": "1",
}
"""As the runbook says."""


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[Operated]:
    async with operated(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        await running.create(30)
        await running.recovered(within=60)
        yield running


@pytest.mark.parametrize(
    ("topic", "readers"),
    [
        (TICKS, ("collector",)),
        (RUN_EVENTS, ("log-writer", "scheduler")),
        (CANDLES, ("candle-writer",)),
        (CONFIG_CHANGES, ("scheduler",)),
    ],
    ids=["ticks", "run-events", "candles", "config-changes"],
)
async def test_who_meets_too_much_poison_stops_and_goes_on_without_limits(
    system: Operated, topic: Topic, readers: tuple[str, ...]
) -> None:
    await poison_and_see_them_stop(system, topic, readers)
    for reader in readers:
        system.overrides[reader] = WITHOUT_LIMITS
        assert await system.restart(reader) == 1
    evidence = await system.judge()
    assert len(evidence.poison) == 4 * MOST


async def test_who_meets_too_much_poison_goes_on_once_it_was_passed_over(system: Operated) -> None:
    await poison_and_see_them_stop(system, CANDLES, ("candle-writer",))
    await system.stack.processes["candle-writer"].stop()
    await pass_over(system, "candle-writer", CANDLES)
    put_aside = {(CANDLES.name, each.source_partition, each.source_offset) for each in await letters(system)}
    system.poison &= put_aside
    system.poisoned_at = {place: at for place, at in system.poisoned_at.items() if place in put_aside}
    await system.revive("candle-writer")
    await system.judge()


async def poison_and_see_them_stop(system: Operated, topic: Topic, readers: tuple[str, ...]) -> None:
    async with poisoning(system) as poisoner:
        await poisoner.send_many(topic, 4 * MOST, partition=system.random.randrange(topic.partitions))
    for reader in readers:
        await eventually(lambda reader=reader: has_stopped(system, reader), within=30, every=0.2)
        (alert,) = said(system, reader, "too_many_dead_letters")
        assert (alert["level"], "limit: DEAD_LETTERS_MAX_" in alert["event"]) == ("critical", True)
        assert f'candlekeep_consumer_stopped{{consumer="{reader}"}} 1.0' in await metrics_of(system, reader)
        assert await is_live(system, reader), "a restart would only put more aside"
    assert 0 < len(await letters(system)) <= MOST * len(readers)


async def has_stopped(system: Operated, reader: str) -> bool:
    problems = await not_ready_because(system, reader)
    assert f"{reader} stops" in problems.get("worker", ""), problems
    return True


async def letters(system: Operated) -> list[DeadLetter]:
    events = await read_events(system.stack.kafka, system.stack.options.topic_prefix, DEAD_LETTERS)
    return [event for event in events if isinstance(event, DeadLetter)]


async def pass_over(system: Operated, group: str, topic: Topic) -> None:
    """Have the group, which nobody is a member of, go on behind the poison."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=system.stack.kafka,
        group_id=f"{system.stack.options.topic_prefix}{group}",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        (number,) = {partition for name, partition, _ in system.poison if name == topic.name}
        behind = 1 + max(offset for _, _, offset in system.poison)
        partition = partitions_of(system, topic)[number]
        consumer.assign([partition])
        await consumer.commit({partition: OffsetAndMetadata(behind, "")})
    finally:
        await consumer.stop()
