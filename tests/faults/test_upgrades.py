"""The database of a running system is brought to a later release's schema: this release works on, and the later one
after it.
"""

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
from support.faults.system import Operated, operated
from support.later_release import LATER, a_later_release
from support.locks import is_awaited
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(300)]
SEED = 20_261_122
SERVICES = ("scheduler", "collector", "log-writer", "candle-writer", "admin-api")


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[Operated]:
    async with operated(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        await running.create(30)
        yield running


@pytest.fixture
def later_release(tmp_path: Path) -> Config:
    """Adds to everything that there is: a column to every table, and indexes; each table is locked on the way."""
    return a_later_release(
        tmp_path / "versions",
        f"""
for table in {sorted(metadata.tables)!r}:
    op.add_column(table, sa.Column("of_later", sa.Text(), server_default="nothing"))
    op.create_index(f"ix_{{table}}_of_later", table, ["of_later"])
""",
    )


async def test_a_running_release_works_on_a_later_ones_schema_and_starts_on_it(
    system: Operated, later_release: Config
) -> None:
    await system.recovered(within=60)
    asking = asyncio.create_task(asks_on(system))
    report = await asyncpg.connect(system.database_url)
    try:
        async with report.transaction():  # a report in the way, for which the migration has to wait
            await report.fetch("SELECT FROM job_execution_logs LIMIT 1")
            system.fault("upgrade", "postgres")
            upgrading = asyncio.create_task(upgrade(system.database_url, config=later_release))
            await eventually(lambda: is_awaited(report, "job_execution_logs"), within=20)
        await upgrading
        assert await report.fetchval("SELECT version_num FROM alembic_version") == LATER
    finally:
        await report.close()
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    for process in SERVICES:
        assert await system.restart(process) == 0
    evidence = await system.judge()
    assert [run for run in evidence.runs if run.status == "failed"] == []


async def asks_on(system: Operated) -> None:
    """Every call is answered, though it may wait."""
    while True:
        assert (await system.trigger(system.random.choice(system.config_ids))).outcome == "ok"
        await asyncio.sleep(0.2)
