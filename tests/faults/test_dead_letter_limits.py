"""A consumer with too many unreadable messages stops, reports this, and stores no more dead letters."""

from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, OffsetAndMetadata

from contracts.dead_letters import DeadLetter
from contracts.topics import CANDLES, CONFIG_CHANGES, DEAD_LETTERS, RUN_EVENTS, TICKS, Topic
from local_stack.keeper import KeptKafka
from support.faults.collect_evidence import read_events
from support.faults.process_state import is_live, log_entries, metrics_of, readiness_problems
from support.faults.replay import partitions_of
from support.faults.system import RunningSystem, running_system
from support.faults.unreadable_messages import unreadable_sender
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]
SEED = 20_261_122
LIMIT = 50
"""The default of DEAD_LETTERS_MAX_CONSECUTIVE."""
WITHOUT_LIMITS = {
    "DEAD_LETTERS_MAX_CONSECUTIVE_AT_START": "100000",
    "DEAD_LETTERS_MAX_CONSECUTIVE": "100000",
    "DEAD_LETTERS_MAX_SHARE": "1",
}
"""The settings that the runbook recommends."""


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[RunningSystem]:
    async with running_system(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        await running.create(30)
        await running.wait_until_recovered(within=60)
        yield running


@pytest.mark.parametrize(
    ("topic", "readers"),
    [
        (TICKS, ("collector",)),
        (RUN_EVENTS, ("log-writer", "scheduler", "backfiller")),
        (CANDLES, ("candle-writer",)),
        (CONFIG_CHANGES, ("scheduler",)),
    ],
    ids=["ticks", "run-events", "candles", "config-changes"],
)
async def test_a_consumer_with_too_many_dead_letters_stops_and_continues_without_limits(
    system: RunningSystem, topic: Topic, readers: tuple[str, ...]
) -> None:
    await send_unreadable_until_readers_stop(system, topic, readers)
    for reader in readers:
        system.overrides[reader] = WITHOUT_LIMITS
        assert await system.restart(reader) == 1
    evidence = await system.judge()
    assert len(evidence.unreadable) == 4 * LIMIT


async def test_a_stopped_consumer_continues_after_the_unreadable_messages_are_skipped(system: RunningSystem) -> None:
    await send_unreadable_until_readers_stop(system, CANDLES, ("candle-writer",))
    await system.stack.processes["candle-writer"].stop()
    await skip_unreadable(system, "candle-writer", CANDLES)
    stored = {(CANDLES.name, each.source_partition, each.source_offset) for each in await dead_letters(system)}
    system.unreadable &= stored
    system.unreadable_sent_at = {
        position: at for position, at in system.unreadable_sent_at.items() if position in stored
    }
    await system.start("candle-writer")
    await system.judge()


async def send_unreadable_until_readers_stop(system: RunningSystem, topic: Topic, readers: tuple[str, ...]) -> None:
    async with unreadable_sender(system) as sender:
        await sender.send_many(topic, 4 * LIMIT, partition=system.random.randrange(topic.partitions))
    for reader in readers:
        await eventually(partial(has_stopped, system, reader), within=30, every=0.2)
        (alert,) = log_entries(system, reader, "too_many_dead_letters")
        assert (alert["level"], "limit: DEAD_LETTERS_MAX_" in alert["event"]) == ("critical", True)
        assert f'candlekeep_consumer_stopped{{consumer="{reader}"}} 1.0' in await metrics_of(system, reader)
        assert await is_live(system, reader), "a restart would only store more dead letters"
    stored = Counter(letter.consumer for letter in await dead_letters(system))
    assert stored.keys() <= set(readers)
    assert all(0 < count <= LIMIT for count in stored.values()), stored


async def has_stopped(system: RunningSystem, reader: str) -> bool:
    problems = await readiness_problems(system, reader)
    assert f"{reader} stops" in problems.get("worker", ""), problems
    return True


async def dead_letters(system: RunningSystem) -> list[DeadLetter]:
    events = await read_events(system.stack.kafka, system.stack.options.topic_prefix, DEAD_LETTERS)
    return [event for event in events if isinstance(event, DeadLetter)]


async def skip_unreadable(system: RunningSystem, group: str, topic: Topic) -> None:
    """Move the group's offset behind the unreadable messages. The group must have no members."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=system.stack.kafka,
        group_id=f"{system.stack.options.topic_prefix}{group}",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        (number,) = {partition for name, partition, _ in system.unreadable if name == topic.name}
        next_offset = 1 + max(offset for _, _, offset in system.unreadable)
        partition = partitions_of(system, topic)[number]
        consumer.assign([partition])
        await consumer.commit({partition: OffsetAndMetadata(next_offset, "")})
    finally:
        await consumer.stop()
