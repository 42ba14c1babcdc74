"""An exchange that responds slowly gets ticks faster than they can run. Newer ones supersede the waiting ones."""

import signal
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from contracts.vocabulary import ErrorClass
from local_stack.keeper import KeptKafka
from support.faults.system import RunningSystem, running_system
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(400)]
SEED = 20_261_127
ONE_PLACE = {
    "MAX_RUNS_PER_LANE": "1",
    "RESERVED_RUNS_PER_LANE": "1",
    # Longer than the deadline of a run. After timeouts, the collector would suspend requests, and runs fail at once.
    "REQUEST_TIMEOUT_SECONDS": "60",
}


async def test_superseded_ticks_have_a_newer_run_although_the_collector_dies_while_they_wait(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    """One place and runs of 20 s: the six configs of the exchange get twice as many ticks as it has places for."""
    options = system_options(kafka, database_url, tmp_path)
    options = replace(options, overrides={**options.overrides, "collector": ONE_PLACE})
    async with running_system(options, seed=SEED) as system:
        await system.mood("latency", exchange="binance", latency_ms=30_000)
        await system.create(30)
        await eventually(lambda: are_superseded(system, 3), within=200, every=1)
        system.send_signal("collector", signal.SIGKILL)
        before = await superseded(system)
        await eventually(lambda: are_superseded(system, before + 3), within=100, every=1)
        await system.mood("ok")
        evidence = await system.judge(recovered_within=120)
        assert {run.config_id for run in evidence.runs if run.superseded_by} <= {*system.config_ids[::5]}


async def superseded(system: RunningSystem) -> int:
    connection = await asyncpg.connect(system.database_url)
    try:
        query = "SELECT count(*) FROM job_execution_logs WHERE error_class = $1"
        return int(await connection.fetchval(query, ErrorClass.SUPERSEDED))
    finally:
        await connection.close()


async def are_superseded(system: RunningSystem, expected: int) -> bool:
    count = await superseded(system)
    assert count >= expected, f"{count} runs were superseded"
    return True
