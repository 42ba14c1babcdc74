"""Several of everything: some die, some come, some go, some stand still for a while."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from local_stack.keeper import KeptKafka
from support.faults.instances import (
    SEVERAL,
    add,
    instances,
    relaying,
    remove,
    schedules_that_went_back,
    shared_out,
    standing_still,
    use_api,
    watching_offsets,
)
from support.faults.probing import said
from support.faults.system import Operated, operated
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
Start = Callable[[Mapping[str, int]], AbstractAsyncContextManager[Operated]]


@pytest.fixture
def of_each(kafka: KeptKafka, database_url: str, tmp_path: Path) -> Start:
    @asynccontextmanager
    async def start(counts: Mapping[str, int]) -> AsyncIterator[Operated]:
        options = system_options(kafka, database_url, tmp_path)
        async with operated(options, seed=SEED, instances=counts) as system:
            await system.create(30)
            yield system

    return start


async def test_of_several_one_of_each_is_killed_and_the_others_go_on(of_each: Start) -> None:
    async with of_each(SEVERAL) as system, watching_offsets(system, *GROUPS) as offsets:
        await shared_out(system, 4, 4, 4)
        await system.kill(system.random.choice(instances(system, "scheduler")))
        await shared_out(system, 0, 6, 6, within=15)
        for role in ("collector", "log-writer", "candle-writer"):
            await system.kill(system.random.choice(instances(system, role)))
            await system.trigger(system.random.choice(system.config_ids))
        sender = await eventually(lambda: relaying(system))
        await system.kill(sender)
        use_api(system, next(name for name in instances(system, "admin-api") if name != sender))
        assert await eventually(lambda: relaying(system, but=sender), within=10, every=0.2) != sender
        await system.update(system.config_ids[0], interval_minutes=2)
        await system.judge()
        assert offsets.went_back == []
        assert await schedules_that_went_back(system) == []


async def test_instances_that_come_and_go_under_load_fail_no_run(of_each: Start) -> None:
    roles = ("scheduler", "collector", "log-writer", "candle-writer", "admin-api")
    async with of_each({}) as system, watching_offsets(system, *GROUPS) as offsets:
        added = {role: await add(system, role) for role in roles}
        await shared_out(system, 6, 6)
        second = await add(system, "collector")
        codes = {}
        for role in roles:
            use_api(system, added["admin-api"])
            await system.trigger(system.random.choice(system.config_ids))
            codes[role] = await remove(system, role)  # the first of each
        await shared_out(system, 12)
        codes[second] = await remove(system, second)
        assert codes == dict.fromkeys(codes, 0)
        evidence = await system.judge()
        assert [run for run in evidence.runs if run.status == "failed"] == []
        assert offsets.went_back == []


@pytest.mark.parametrize("role", ["scheduler", "collector", "log-writer", "candle-writer"])
async def test_one_that_stood_still_among_several_does_no_harm_when_it_goes_on(of_each: Start, role: str) -> None:
    async with of_each({role: 2}) as system, watching_offsets(system, *GROUPS) as offsets:
        (other,) = set(instances(system, role)) - {role}
        for name in (role, other):
            await eventually(partial(latest_assignment, system, name), within=30, every=0.2)
        before = len(said(system, other, "assigned"))
        async with standing_still(system, role):
            still_until = time.monotonic() + 45
            while time.monotonic() < still_until:
                await system.trigger(system.random.choice(system.config_ids))
                await asyncio.sleep(3)  # the fault is that time passes
            assert len(said(system, other, "assigned")) > before, f"{other} has not taken over"
        await system.judge()
        assert offsets.went_back == []
        assert await schedules_that_went_back(system) == []


def latest_assignment(system: Operated, process: str) -> Any:
    """The partitions, or their number, that the process was assigned last; None before it was assigned any."""
    assigned = said(system, process, "assigned")
    return assigned[-1]["partitions"] if assigned else None


async def test_a_scheduler_that_stood_still_between_a_tick_and_its_state_does_not_bring_the_past_back(
    of_each: Start,
) -> None:
    async with of_each({"scheduler": 2}) as system:
        await system.restart_broken("scheduler", "scheduler.after_ticks=sleep:75@3")
        await system.deaths("scheduler", 1)
        await shared_out(system, 0, 12, within=20)
        await shared_out(system, 6, 6, within=90)
        system.arm("scheduler", "")
        await system.judge()
        assert await schedules_that_went_back(system) == []
