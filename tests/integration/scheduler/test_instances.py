"""Several schedulers in separate processes that share the partitions; one is killed."""

import asyncio
import signal
from collections import defaultdict
from datetime import UTC, datetime

import pytest

from contracts.coverage import to_milliseconds
from contracts.schedule import JobScheduled
from contracts.ticks import TickDue
from contracts.topics import CONFIG_CHANGES, SCHEDULE_STATE
from scheduler.clock import wall_clock
from scheduler.entry import state_of
from scheduler.grid import MINUTE_MS, grid_of
from support.polling import eventually
from support.schedules import a_change, an_entry
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


async def test_a_bad_setting_is_one_clear_line_and_exit_code_2(world: World) -> None:
    async with an_instance(world.settings, EXCHANGE_LANES='{"binance": 0}') as instance:
        assert await asyncio.wait_for(instance.process.wait(), 20) == 2
