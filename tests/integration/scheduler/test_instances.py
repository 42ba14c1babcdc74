"""Several schedulers in separate processes that share the partitions; one is killed."""

import asyncio
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from contracts.coverage import to_milliseconds
from contracts.schedule import JobScheduled
from contracts.ticks import TickDue
from contracts.topics import CONFIG_CHANGES, RUN_EVENTS, SCHEDULE_STATE, Topic
from runtime.kafka.clients import topic_name
from runtime.kafka.topics import topic_configs
from runtime.settings import KafkaSettings
from scheduler.clock import wall_clock
from scheduler.entry import state_of
from scheduler.grid import MINUTE_MS, grid_of
from support.consuming import committed
from support.kafka import administration, read_topic
from support.polling import eventually
from support.schedules import a_change, a_config, a_run, an_entry
from support.scheduling import Instance, World, an_instance

pytestmark = [pytest.mark.kafka, pytest.mark.real_kafka]

CONFIGS = 300
"""With an interval of one minute: five slots per second."""


async def shares(*instances: Instance) -> list[int]:
    return [await instance.live_partitions() for instance in instances]


async def await_shares(expected: list[int], *instances: Instance) -> None:
    async def shared() -> bool:
        found = await shares(*instances)
        assert found == expected, f"live partitions: {found}"
        return True

    await eventually(shared, within=40, every=0.2)


async def publish_configs(world: World) -> int:
    """Publish configs and their states. Returns the instant from which slots count."""
    settled = wall_clock()
    config = {"interval_minutes": 1, "updated_at": datetime.now(UTC)}
    entries = [an_entry(settled=settled, config_id=number, **config) for number in range(1, CONFIGS + 1)]
    await world.publish(SCHEDULE_STATE, [state_of(entry, settled) for entry in entries])
    await world.publish(CONFIG_CHANGES, [a_change(config_id=number, **config) for number in range(1, CONFIGS + 1)])
    return settled


def lost_slots(world: World, settled: int, until: int) -> dict[int, int]:
    """The number of slots in (settled, until] that no tick covers, by config. Empty if no slot is lost."""
    published: dict[int, dict[int, int]] = defaultdict(dict)
    for tick in world.seen.events(TickDue):
        slot = to_milliseconds(tick.scheduled_for)
        missed = max(tick.missed_slots, published[tick.config.config_id].get(slot, 0))
        published[tick.config.config_id][slot] = missed
    lost = {}
    for config_id in range(1, CONFIGS + 1):
        grid = grid_of(config_id, 1, 300_000)
        covered = {slot - each * MINUTE_MS for slot, n in published[config_id].items() for each in range(n + 1)}
        pending_slots = range(grid.slot_after(settled), until + 1, MINUTE_MS)
        if missing := [slot for slot in pending_slots if slot not in covered]:
            lost[config_id] = len(missing)
    return lost


@pytest.mark.timeout(150)
async def test_a_killed_instance_is_replaced_and_no_slot_is_lost(world: World) -> None:
    settled = await publish_configs(world)
    async with an_instance(world.settings) as one, an_instance(world.settings) as two:
        await await_shares([6, 6], one, two)
        await world.tick(20, within=30)
        one.process.send_signal(signal.SIGKILL)
        killed_at = wall_clock()
        await await_shares([0, 12], one, two)
        until = max(killed_at, wall_clock()) + 2000

        def complete() -> bool:
            assert wall_clock() > until + 1000
            lost = lost_slots(world, settled, until)
            assert not lost, f"slots lost by config: {lost}"
            return True

        await eventually(complete, within=30, every=0.2)
        two.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(two.process.wait(), 15) == 0
    runs: dict[tuple[int, datetime], set[object]] = defaultdict(set)
    for tick in world.seen.events(TickDue):
        runs[tick.config.config_id, tick.scheduled_for].add(tick.run_id)
    assert all(len(run_ids) == 1 for run_ids in runs.values()), "the same slot has the same run id from every instance"


@pytest.mark.timeout(150)
async def test_an_instance_that_joins_or_leaves_causes_no_tick_twice(world: World) -> None:
    settled = await publish_configs(world)
    async with an_instance(world.settings) as one:
        await await_shares([12], one)
        async with an_instance(world.settings) as two:
            await await_shares([6, 6], one, two)
            two.process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(two.process.wait(), 15) == 0
        await await_shares([12], one)
        until = wall_clock()
        await eventually(lambda: wall_clock() > until + 1000)
        one.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(one.process.wait(), 15) == 0
    assert lost_slots(world, settled, until) == {}
    run_ids = [tick.run_id for tick in world.seen.events(TickDue)]
    assert len(run_ids) == len(set(run_ids)), "regular hand-overs repeat no tick"
    assert len(world.seen.events(JobScheduled)) >= len(run_ids) + CONFIGS


@asynccontextmanager
async def refusing(settings: KafkaSettings, topic: Topic) -> AsyncIterator[None]:
    """Until the block ends, Kafka refuses every message to the topic: each is larger than the limit."""
    name, declared = topic_name(settings, topic), topic_configs(topic, 1)

    async def configure(configs: dict[str, str]) -> None:
        async with administration(settings) as admin:
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=configs)])

    await configure({**declared, "max.message.bytes": "1"})
    yield
    await configure(declared)


async def test_the_result_of_a_first_run_survives_a_crash_before_its_state_is_published(world: World) -> None:
    first, other = a_config(config_id=1), a_config(config_id=2)
    async with an_instance(world.settings) as killed:
        await await_shares([12], killed)
        await world.change(config_id=1, updated_at=datetime.now(UTC))
        await world.state(1)
        async with refusing(world.settings, SCHEDULE_STATE):
            await world.publish(RUN_EVENTS, [a_run(ended=wall_clock(), config=first)])

            async def state_is_refused() -> bool:
                return await killed.metric('candlekeep_scheduler_publish_retries_total{topic="schedule-state"}') > 0

            await eventually(state_is_refused, within=20)
            await world.publish(RUN_EVENTS, [a_run(ended=wall_clock(), config=other)])
            partitions = {each.key: each.partition for each in await read_topic(world.settings, RUN_EVENTS)}
            assert partitions["1"] != partitions["2"]

            async def committed_after_the_result() -> bool:
                stored = await committed(world.settings, "scheduler", RUN_EVENTS)
                assert stored.get(partitions["2"], (0, ""))[0] == 1
                return True

            await eventually(committed_after_the_result, within=20)
            killed.process.send_signal(signal.SIGKILL)
            await killed.process.wait()
    assert not any(state.progress for state in world.seen.events(JobScheduled))
    async with an_instance(world.settings):
        await world.seen.await_events(JobScheduled, 1, lambda state: bool(state.progress), within=40)


async def test_a_bad_setting_is_one_clear_line_and_exit_code_2(world: World) -> None:
    async with an_instance(world.settings, EXCHANGE_LANES='{"binance": 0}') as instance:
        assert await asyncio.wait_for(instance.process.wait(), 20) == 2
