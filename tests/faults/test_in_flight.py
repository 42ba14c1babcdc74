"""What a process has in hand when it dies is taken up again: nobody has said yet that it is done."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from local_stack.keeper import KeptKafka
from support.faults.forcing import finished_in_kafka, run_under_way, until_forced
from support.faults.probing import run_status
from support.faults.system import MARKETS, Operated, operated
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]
SEED = 20_261_122


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[Operated]:
    async with operated(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        await running.create(30)
        yield running


@pytest.mark.parametrize("writer", [pytest.param("log-writer", marks=pytest.mark.faults_short), "candle-writer"])
async def test_a_writer_that_dies_with_a_backlog_in_hand_loses_none_of_it(system: Operated, writer: str) -> None:
    await system.stack.processes[writer].stop()
    system.fault("stopped", writer)
    calls = [await system.trigger(config_id) for config_id in system.config_ids[:10]]
    await finished_in_kafka(system, calls)
    system.arm(writer, f"{writer.replace('-', '_')}.before_write=kill@1")
    await system.revive(writer)
    await system.deaths(writer, 1)
    system.arm(writer, "")
    await system.judge()


async def test_an_api_that_dies_before_it_answers_loses_and_invents_nothing(system: Operated) -> None:
    await system.restart_broken("admin-api", "admin_api.after_commit=kill@2")
    outcomes = set()
    for config_id in system.config_ids[:2]:
        for changes in ({"enabled": False}, {"enabled": True}):
            await system.ready("admin-api")
            outcomes.add((await system.update(config_id, **changes)).outcome)
    assert outcomes == {"ok", "unknown"}
    system.arm("admin-api", "")
    system.send("admin-api", signal.SIGKILL)
    await system.judge()


async def test_a_trigger_asked_again_after_the_api_died_is_the_same_run(system: Operated) -> None:
    await system.restart_broken("admin-api", "admin_api.after_commit=kill@1")
    await system.ready("admin-api")
    config_id, key = system.config_ids[0], f'"{system.random.random()}"'
    unanswered = await system.trigger(config_id, key=key)
    assert unanswered.outcome == "unknown"
    system.arm("admin-api", "")
    system.send("admin-api", signal.SIGKILL)
    await system.ready("admin-api")
    answered = [await system.trigger(config_id, key=key) for _ in range(2)]
    connection = await asyncpg.connect(system.database_url)
    try:
        runs = "SELECT run_id::text FROM job_execution_logs WHERE config_id = $1 AND trigger = 'manual'"
        audited = "SELECT count(*) FROM audit_log WHERE action = 'config.trigger' AND object_id = $1"
        await eventually(lambda: has_come_to(system, answered[0].run_id, "success"), within=30, every=0.2)
        assert {row[0] for row in await connection.fetch(runs, config_id)} == {call.run_id for call in answered}
        assert await connection.fetchval(audited, str(config_id)) == 1
    finally:
        await connection.close()
    await system.judge()


async def test_a_run_that_quicker_ones_have_overtaken_is_run_again_when_its_collector_dies(system: Operated) -> None:
    await system.recovered(within=60)
    slow, *quick = [
        config for config, (exchange, _) in zip(system.config_ids, MARKETS, strict=False) if exchange == "okx"
    ]
    await system.mood("latency", exchange="okx", symbol="BTC/USDT", latency_ms=9000)
    overtaken: list[str | None] = []

    async def overtake() -> bool:
        overtaken.append((await run_under_way(system, slow)).run_id)
        calls = [await system.trigger(config_id) for config_id in quick]
        await finished_in_kafka(system, calls)
        await asyncio.sleep(2)  # what is contiguous is committed every second
        return await run_status(system, overtaken[-1]) == "running"

    await until_forced("quicker runs overtake a slow one", overtake)
    system.send("collector", signal.SIGKILL)
    await system.mood("ok")
    await eventually(lambda: has_come_to(system, overtaken[-1], "success"), within=60, every=0.5)
    await system.judge()


async def has_come_to(system: Operated, run_id: str | None, wanted: str) -> bool:
    status = await run_status(system, run_id)
    assert status == wanted, f"the overtaken run is {status}"
    return True
