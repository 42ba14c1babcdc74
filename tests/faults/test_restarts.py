"""Services end during their work: they are stopped, or killed while a caller waits for them."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local_stack.keeper import KeptKafka
from support.faults.forcing import trigger_until_running
from support.faults.history import Call
from support.faults.system import RunningSystem, running_system
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(400)]
SEED = 20_261_122
SERVICES = ("scheduler", "collector", "log-writer", "candle-writer", "backfiller", "admin-api")


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[RunningSystem]:
    async with running_system(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        await running.create(30)
        yield running


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(1, marks=pytest.mark.faults_short),
        pytest.param(20, marks=pytest.mark.timeout(2400)),
    ],
)
async def test_a_rolling_restart_fails_no_run_and_every_process_exits_with_zero(
    system: RunningSystem, rounds: int
) -> None:
    await system.mood("latency", latency_ms=1000)  # so that a run is in progress when the collector is stopped
    codes: list[tuple[str, int | None]] = []
    for _ in range(rounds):
        for process in SERVICES:
            config_id = system.random.choice(system.config_ids)
            await (trigger_until_running(system, config_id) if process == "collector" else system.trigger(config_id))
            codes.append((process, await system.restart(process)))
    assert [(process, code) for process, code in codes if code != 0] == []
    await system.mood("ok")
    evidence = await system.judge()
    assert [run for run in evidence.runs if run.status == "failed"] == []


async def test_runs_of_a_killed_collector_are_repeated_while_exchanges_are_slow(system: RunningSystem) -> None:
    await system.mood("latency", latency_ms=2500)
    for _ in range(3):
        await asyncio.sleep(system.random.uniform(3, 6))  # the seed decides the moment of the fault
        await trigger_until_running(system, system.random.choice(system.config_ids))
        system.send_signal("collector", signal.SIGKILL)
        await system.trigger(system.random.choice(system.config_ids))
        await system.wait_until_ready("collector")
    await system.mood("ok")
    await system.judge()


async def test_requests_without_a_response_from_a_killed_api_lose_and_invent_no_change(system: RunningSystem) -> None:
    first, second = system.config_ids[:2]
    await system.restart_with_failpoints("admin-api", "admin_api.after_commit=kill@2")
    calls: list[Call] = []
    for number in range(3):
        await system.wait_until_ready("admin-api")
        calls.append(await system.update(first, enabled=number % 2 == 1))
        calls.append(
            await (system.trigger(second) if number == 0 else system.update(second, interval_minutes=number + 1))
        )
    await system.wait_until_ready("admin-api")
    known = len(system.config_ids)
    await system.create(2)
    assert [call.outcome for call in calls] == ["ok", "unknown"] * 3
    assert len(system.config_ids) == known + 1, "one creation got a response, the other did not"
    system.arm("admin-api", "")
    await system.wait_until_ready("admin-api")
    await system.judge()
