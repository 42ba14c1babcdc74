"""Services are killed at the critical moments: between an effect and the record of this effect."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local_stack.keeper import KeptKafka
from support.faults.system import RunningSystem, running_system
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]
SEED = 20_261_122


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[RunningSystem]:
    async with running_system(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        await running.create(30)
        yield running


@pytest.mark.parametrize(
    ("process", "failpoint"),
    [
        ("scheduler", "scheduler.before_ticks=kill@3"),
        ("scheduler", "scheduler.after_ticks=kill@3"),
        pytest.param("collector", "collector.after_candles=kill@3", marks=pytest.mark.faults_short),
        ("collector", "collector.after_finished=kill@3"),
        ("log-writer", "log_writer.before_write=kill@3"),
        ("log-writer", "log_writer.after_write=kill@3"),
        ("candle-writer", "candle_writer.before_write=kill@3"),
        ("candle-writer", "candle_writer.before_ledger=kill@3"),
        ("candle-writer", "candle_writer.after_write=kill@3"),
        ("admin-api", "admin_api.before_send=kill@1"),
        ("admin-api", "admin_api.after_send=kill@1"),
    ],
)
async def test_a_service_that_dies_repeatedly_loses_nothing(
    system: RunningSystem, process: str, failpoint: str
) -> None:
    await system.restart_with_failpoints(process, failpoint)
    await system.update(system.config_ids[0], interval_minutes=2)
    for config_id in system.random.sample(system.config_ids, 5):
        await system.trigger(config_id)
    await system.wait_for_failpoint(process, 1 if process == "admin-api" else 2)
    system.arm(process, "")
    system.send_signal(process, signal.SIGKILL)
    evidence = await system.judge()
    assert len(evidence.runs) > 30
