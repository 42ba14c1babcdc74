"""Work that is in flight when its process dies is repeated, because it is not committed yet."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from local_stack.keeper import KeptKafka
from support.faults.forcing import trigger_until_running, until_forced, wait_for_finished_runs
from support.faults.process_state import run_status
from support.faults.system import MARKETS, RunningSystem, running_system
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]
SEED = 20_261_122


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[RunningSystem]:
    async with running_system(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        await running.create(30)
        yield running


@pytest.mark.parametrize("writer", ["log-writer", "candle-writer"])
async def test_a_writer_that_dies_with_a_backlog_in_flight_loses_no_message(system: RunningSystem, writer: str) -> None:
    await system.stack.processes[writer].stop()
    system.record_fault("stopped", writer)
    calls = [await system.trigger(config_id) for config_id in system.config_ids[:10]]
    await wait_for_finished_runs(system, calls)
    system.arm(writer, f"{writer.replace('-', '_')}.before_write=kill@1")
    await system.start(writer)
    await system.wait_for_failpoint(writer, 1)
    system.arm(writer, "")
    await system.judge()


async def test_an_api_that_dies_before_its_response_loses_and_invents_no_change(system: RunningSystem) -> None:
    await system.restart_with_failpoints("admin-api", "admin_api.after_commit=kill@2")
    outcomes = set()
    for config_id in system.config_ids[:2]:
        for changes in ({"enabled": False}, {"enabled": True}):
            await system.wait_until_ready("admin-api")
            outcomes.add((await system.update(config_id, **changes)).outcome)
    assert outcomes == {"ok", "unknown"}
    system.arm("admin-api", "")
    system.send_signal("admin-api", signal.SIGKILL)
    await system.judge()


async def test_a_trigger_that_is_repeated_after_the_api_died_gives_the_same_run(system: RunningSystem) -> None:
    await system.restart_with_failpoints("admin-api", "admin_api.after_commit=kill@1")
    await system.wait_until_ready("admin-api")
    config_id, key = system.config_ids[0], f'"{system.random.random()}"'
    first = await system.trigger(config_id, key=key)
    assert first.outcome == "unknown"
    system.arm("admin-api", "")
    system.send_signal("admin-api", signal.SIGKILL)
    await system.wait_until_ready("admin-api")
    repeated = [await system.trigger(config_id, key=key) for _ in range(2)]
    connection = await asyncpg.connect(system.database_url)
    try:
        runs = "SELECT run_id::text FROM job_execution_logs WHERE config_id = $1 AND trigger = 'manual'"
        audit_entries = "SELECT count(*) FROM audit_log WHERE action = 'config.trigger' AND object_id = $1"
        await eventually(lambda: has_status(system, repeated[0].run_id, "success"), within=30, every=0.2)
        assert {row[0] for row in await connection.fetch(runs, config_id)} == {call.run_id for call in repeated}
        assert await connection.fetchval(audit_entries, str(config_id)) == 1
    finally:
        await connection.close()
    await system.judge()


async def test_an_overtaken_run_is_repeated_when_its_collector_dies(
    system: RunningSystem,
) -> None:
    await system.wait_until_recovered(within=60)
    slow, *fast = [
        config for config, (exchange, _) in zip(system.config_ids, MARKETS, strict=False) if exchange == "okx"
    ]
    await system.mood("latency", exchange="okx", symbol="BTC/USDT", latency_ms=9000)
    overtaken: list[str | None] = []

    async def overtake() -> bool:
        overtaken.append((await trigger_until_running(system, slow)).run_id)
        calls = [await system.trigger(config_id) for config_id in fast]
        await wait_for_finished_runs(system, calls)
        await asyncio.sleep(2)  # the watermark is committed every second
        return await run_status(system, overtaken[-1]) == "running"

    await until_forced("faster runs overtake a slow one", overtake)
    system.send_signal("collector", signal.SIGKILL)
    await system.mood("ok")
    await eventually(lambda: has_status(system, overtaken[-1], "success"), within=60, every=0.5)
    await system.judge()


async def has_status(system: RunningSystem, run_id: str | None, expected: str) -> bool:
    status = await run_status(system, run_id)
    assert status == expected, f"the overtaken run is {status}"
    return True
