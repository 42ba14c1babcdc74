"""Several instances of every service: some are killed, added, removed, or stalled for a while."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from exchange_simulator.catalogue import ASSETS
from local_stack.keeper import KeptKafka
from support.faults.instances import (
    INSTANCE_COUNTS,
    active_relay,
    add_instance,
    instances,
    read_metric,
    remove_instance,
    schedule_states_out_of_order,
    stalled,
    use_api_instance,
    wait_for_partitions,
    watch_offsets,
)
from support.faults.process_state import log_entries
from support.faults.system import MARKETS, RunningSystem, running_system
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [
    pytest.mark.faults,
    pytest.mark.kafka,
    pytest.mark.real_kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(400),
]
SEED = 20_261_122
GROUPS = ("collector", "log-writer", "candle-writer")
StartSystem = Callable[[Mapping[str, int]], AbstractAsyncContextManager[RunningSystem]]


@pytest.fixture
def start_system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> StartSystem:
    @asynccontextmanager
    async def start(counts: Mapping[str, int]) -> AsyncIterator[RunningSystem]:
        options = system_options(kafka, database_url, tmp_path)
        async with running_system(options, seed=SEED, instances=counts) as system:
            await system.create(30)
            yield system

    return start


async def test_when_one_instance_of_each_service_is_killed_the_others_continue(start_system: StartSystem) -> None:
    async with start_system(INSTANCE_COUNTS) as system, watch_offsets(system, *GROUPS) as offsets:
        await wait_for_partitions(system, 4, 4, 4)
        await system.kill(system.random.choice(instances(system, "scheduler")))
        await wait_for_partitions(system, 0, 6, 6, within=15)
        for role in ("collector", "log-writer", "candle-writer"):
            await system.kill(system.random.choice(instances(system, role)))
            await system.trigger(system.random.choice(system.config_ids))
        active = await eventually(lambda: active_relay(system))
        await system.kill(active)
        use_api_instance(system, next(name for name in instances(system, "admin-api") if name != active))
        assert await eventually(lambda: active_relay(system, excluding=active), within=10, every=0.2) != active
        await system.update(system.config_ids[0], interval_minutes=2)
        await system.judge()
        assert offsets.moved_back == []
        assert await schedule_states_out_of_order(system) == []


async def test_adding_and_removing_instances_under_load_fails_no_run(start_system: StartSystem) -> None:
    roles = ("scheduler", "collector", "log-writer", "candle-writer", "backfiller", "admin-api")
    async with start_system({}) as system, watch_offsets(system, *GROUPS) as offsets:
        added = {role: await add_instance(system, role) for role in roles}
        await wait_for_partitions(system, 6, 6)
        second = await add_instance(system, "collector")
        codes = {}
        for role in roles:
            use_api_instance(system, added["admin-api"])
            await system.trigger(system.random.choice(system.config_ids))
            codes[role] = await remove_instance(system, role)  # the first instance of each role
        await wait_for_partitions(system, 12)
        codes[second] = await remove_instance(system, second)
        assert codes == dict.fromkeys(codes, 0)
        evidence = await system.judge()
        assert [run for run in evidence.runs if run.status == "failed"] == []
        assert offsets.moved_back == []


@pytest.mark.parametrize("role", ["scheduler", "collector", "log-writer", "candle-writer"])
async def test_a_stalled_instance_does_no_harm_when_it_continues(start_system: StartSystem, role: str) -> None:
    async with start_system({role: 2}) as system, watch_offsets(system, *GROUPS) as offsets:
        (other,) = set(instances(system, role)) - {role}
        for name in (role, other):
            await eventually(partial(latest_assignment, system, name), within=30, every=0.2)
        before = len(log_entries(system, other, "assigned"))
        async with stalled(system, role):
            stalled_until = time.monotonic() + 45
            while time.monotonic() < stalled_until:
                await system.trigger(system.random.choice(system.config_ids))
                await asyncio.sleep(3)  # the fault is that time passes
            assert len(log_entries(system, other, "assigned")) > before, f"{other} has not taken over"
        await system.judge()
        assert offsets.moved_back == []
        assert await schedule_states_out_of_order(system) == []


async def test_a_collector_that_continues_after_a_stall_leaves_the_rate_limit_to_the_next_owner(
    start_system: StartSystem,
) -> None:
    async with start_system({"collector": 2}) as system:
        system.rules = replace(system.rules, max_per_second={"coinbase": 13})  # ccxt's limit is ten
        more = [("coinbase", f"{asset}/USD") for asset in ASSETS if ("coinbase", f"{asset}/USD") not in MARKETS[:30]]
        await system.create(30, [*MARKETS[:30], *more])
        await system.wait_until_recovered(within=60)
        coinbase = system.config_ids[30:]
        before = {name: await coinbase_requests(system, name) for name in instances(system, "collector")}
        owner = max(before, key=before.__getitem__)
        (other,) = before.keys() - {owner}
        await asyncio.gather(*(system.trigger(each) for each in coinbase))
        waiting = await eventually(partial(runs_in_progress, system, owner, 15), every=0.05)
        async with stalled(system, owner):

            async def has_taken_over() -> bool:
                return await coinbase_requests(system, other) > before[other]

            await eventually(has_taken_over, within=60, every=0.05)
        await system.judge()
        print(f"{waiting:.0f} runs were in progress in {owner}")


async def coinbase_requests(system: RunningSystem, process: str) -> float:
    metric = 'candlekeep_exchange_requests_total{exchange="coinbase",outcome="ok"}'
    return await read_metric(system, process, metric) or 0.0


async def runs_in_progress(system: RunningSystem, process: str, least: int) -> float:
    found = await read_metric(system, process, "candlekeep_runs_in_flight") or 0.0
    assert found >= least, found
    return found


def latest_assignment(system: RunningSystem, process: str) -> Any:
    """The process's last assigned partitions, or their number. None before its first assignment."""
    assigned = log_entries(system, process, "assigned")
    return assigned[-1]["partitions"] if assigned else None


async def test_a_scheduler_that_stalled_between_a_tick_and_its_state_publishes_no_old_state(
    start_system: StartSystem,
) -> None:
    async with start_system({"scheduler": 2}) as system:
        await system.restart_with_failpoints("scheduler", "scheduler.after_ticks=sleep:75@3")
        await system.wait_for_failpoint("scheduler", 1)
        await wait_for_partitions(system, 0, 12, within=20)
        await wait_for_partitions(system, 6, 6, within=90)
        system.arm("scheduler", "")
        await system.judge()
        assert await schedule_states_out_of_order(system) == []
