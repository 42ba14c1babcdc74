"""Services that end in the middle of their work: asked to, or killed while somebody waits for them."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local_stack.keeper import KeptKafka
from support.faults.forcing import run_under_way
from support.faults.history import Call
from support.faults.system import Operated, operated
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(400)]
SEED = 20_261_122
SERVICES = ("scheduler", "collector", "log-writer", "candle-writer", "admin-api")


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[Operated]:
    async with operated(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        await running.create(30)
        yield running


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(1, marks=pytest.mark.faults_short),
        pytest.param(20, marks=pytest.mark.timeout(2400)),
    ],
)
async def test_a_rolling_restart_of_everything_fails_no_run_and_every_process_ends_well(
    system: Operated, rounds: int
) -> None:
    await system.mood("latency", latency_ms=1000)  # so that a run is under way when the collector is asked to end
    codes: list[tuple[str, int | None]] = []
    for _ in range(rounds):
        for process in SERVICES:
            config_id = system.random.choice(system.config_ids)
            await (run_under_way(system, config_id) if process == "collector" else system.trigger(config_id))
            codes.append((process, await system.restart(process)))
    assert [(process, code) for process, code in codes if code != 0] == []
    await system.mood("ok")
    evidence = await system.judge()
    assert [run for run in evidence.runs if run.status == "failed"] == []


async def test_runs_of_a_collector_killed_while_exchanges_are_slow_are_run_again(system: Operated) -> None:
    await system.mood("latency", latency_ms=2500)
    for _ in range(3):
        await asyncio.sleep(system.random.uniform(3, 6))  # a moment of its choice is the fault
        await run_under_way(system, system.random.choice(system.config_ids))
        system.send("collector", signal.SIGKILL)
        await system.trigger(system.random.choice(system.config_ids))
        await system.ready("collector")
    await system.mood("ok")
    await system.judge()


async def test_calls_that_an_api_did_not_live_to_answer_lose_and_invent_nothing(system: Operated) -> None:
    one, other = system.config_ids[:2]
    await system.restart_broken("admin-api", "admin_api.after_commit=kill@2")
    calls: list[Call] = []
    for number in range(3):
        await system.ready("admin-api")
        calls.append(await system.update(one, enabled=number % 2 == 1))
        calls.append(
            await (system.trigger(other) if number == 0 else system.update(other, interval_minutes=number + 1))
        )
    await system.ready("admin-api")
    known = len(system.config_ids)
    await system.create(2)
    assert [call.outcome for call in calls] == ["ok", "unknown"] * 3
    assert len(system.config_ids) == known + 1, "one creation was answered, the other was not"
    system.arm("admin-api", "")
    await system.ready("admin-api")
    await system.judge()
