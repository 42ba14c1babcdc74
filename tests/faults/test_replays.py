"""Messages are sent again: late, in another order, several times."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.runs import RunFinished
from contracts.topics import CANDLES, CONFIG_CHANGES, RUN_EVENTS, SCHEDULE_STATE, TICKS
from local_stack.keeper import KeptKafka
from support.faults.collect_evidence import read_events
from support.faults.replay import read_tables, replay_shuffled, wait_until_caught_up
from support.faults.system import RunningSystem, running_system
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]
SEED = 20_261_122


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[RunningSystem]:
    async with running_system(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        await running.create(30)
        yield running


async def test_all_messages_again_in_another_order_change_no_table(system: RunningSystem) -> None:
    await system.wait_until_recovered(within=60)
    for config_id in system.config_ids[:10]:
        await system.trigger(config_id)  # collects a whole page, so some candles are fetched twice
    evidence = await system.judge()
    assert sum(run.trigger == "manual" and run.status == "success" for run in evidence.runs) > 5
    await system.stack.processes["collector"].stop()
    before = await read_tables(system.database_url)
    sent = [await replay_shuffled(system, topic, SEED) for topic in (RUN_EVENTS, CANDLES, SCHEDULE_STATE)]
    assert min(sent) > 30, sent

    await wait_until_caught_up(system)
    assert await read_tables(system.database_url) == before


async def test_changes_again_in_another_order_restore_no_older_version(system: RunningSystem) -> None:
    for config_id in system.config_ids[:10]:
        await system.update(config_id, interval_minutes=2)
        await system.update(config_id, interval_minutes=1)
        await system.update(config_id, enabled=False)
    await asyncio.sleep(10)  # from here on a tick of a disabled config is a violation
    for attempt in range(3):
        for topic in (CONFIG_CHANGES, SCHEDULE_STATE):
            assert await replay_shuffled(system, topic, SEED + attempt) > 30
    evidence = await system.judge()
    assert sum(not config.enabled for config in evidence.configs.values()) == 10


async def test_ticks_again_in_another_order_repeat_no_run(system: RunningSystem) -> None:
    await system.wait_until_recovered(within=60)
    for attempt in range(2):
        assert await replay_shuffled(system, TICKS, SEED + attempt) > 30
    evidence = await system.judge()
    events = await read_events(system.stack.kafka, system.stack.options.topic_prefix, RUN_EVENTS)
    ended = Counter(str(event.run_id) for event in events if isinstance(event, RunFinished))
    assert ended.keys() == {run.run_id for run in evidence.runs}
    assert [run_id for run_id, times in ended.items() if times > 1] == []
