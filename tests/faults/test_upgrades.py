"""The schema of a later release is installed while this release is running. This release must continue to work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from alembic.config import Config

from local_stack.keeper import KeptKafka
from store.migrate import upgrade
from store.tables import metadata
from support.faults.system import RunningSystem, running_system
from support.later_release import LATER, a_later_release
from support.locks import is_awaited
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(300)]
SEED = 20_261_122
SERVICES = ("scheduler", "collector", "log-writer", "candle-writer", "backfiller", "admin-api")


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[RunningSystem]:
    async with running_system(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        await running.create(30)
        yield running


@pytest.fixture
def later_release(tmp_path: Path) -> Config:
    """A migration that adds a column and an index to every table. It locks each table for a moment."""
    return a_later_release(
        tmp_path / "versions",
        f"""
for table in {sorted(metadata.tables)!r}:
    op.add_column(table, sa.Column("of_later", sa.Text(), server_default="nothing"))
    op.create_index(f"ix_{{table}}_of_later", table, ["of_later"])
""",
    )


async def test_a_release_continues_and_restarts_on_the_schema_of_a_later_release(
    system: RunningSystem, later_release: Config
) -> None:
    await system.wait_until_recovered(within=60)
    operating = asyncio.create_task(trigger_forever(system))
    report = await asyncpg.connect(system.database_url)
    try:
        async with report.transaction():  # a long report, for which the migration must wait
            await report.fetch("SELECT FROM job_execution_logs LIMIT 1")
            system.record_fault("upgrade", "postgres")
            upgrading = asyncio.create_task(upgrade(system.database_url, config=later_release))
            await eventually(lambda: is_awaited(report, "job_execution_logs"), within=20)
        await upgrading
        assert await report.fetchval("SELECT version_num FROM alembic_version") == LATER
    finally:
        await report.close()
    operating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await operating
    for process in SERVICES:
        assert await system.restart(process) == 0
    evidence = await system.judge()
    assert [run for run in evidence.runs if run.status == "failed"] == []


async def trigger_forever(system: RunningSystem) -> None:
    """Every trigger must get a response, but it may wait."""
    while True:
        assert (await system.trigger(system.random.choice(system.config_ids))).outcome == "ok"
        await asyncio.sleep(0.2)
