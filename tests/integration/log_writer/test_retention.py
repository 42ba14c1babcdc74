import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from log_writer import retention
from log_writer.retention import delete_expired
from log_writer.runs import fold
from log_writer.schedule import ScheduleChanges
from log_writer.write import write_batch
from support.run_histories import an_ending
from support.writers import query

pytestmark = pytest.mark.postgres

DAYS_30 = timedelta(days=30)
COUNT = "SELECT count(*) FROM job_execution_logs"


async def runs_of_age(engine: AsyncEngine, days: float, number: int) -> None:
    started_at = datetime.now(UTC) - timedelta(days=days)
    await write_batch(engine, fold([an_ending(started_at=started_at) for _ in range(number)]), ScheduleChanges())


async def test_runs_past_retention_are_deleted_in_batches_and_the_rest_stays(
    engine: AsyncEngine, database_url: str
) -> None:
    await runs_of_age(engine, 31, 25)
    await runs_of_age(engine, 29.9, 5)
    batches: list[int] = []
    await delete_expired(engine, DAYS_30, batches.append, batch_rows=10)
    assert batches == [10, 10, 5]
    assert await query(database_url, COUNT) == [(5,)]


async def test_only_one_instance_deletes_at_a_time(engine: AsyncEngine, database_url: str) -> None:
    await runs_of_age(engine, 31, 5)
    batches: list[int] = []
    async with engine.begin() as other:
        await other.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": retention._LOCK})
        await delete_expired(engine, DAYS_30, batches.append)
    assert batches == []
    await delete_expired(engine, DAYS_30, batches.append)
    assert batches == [5]


async def test_several_instances_delete_each_run_once(engine: AsyncEngine, database_url: str) -> None:
    await runs_of_age(engine, 31, 100)
    batches: list[int] = []
    await asyncio.gather(*(delete_expired(engine, DAYS_30, batches.append, batch_rows=10) for _ in range(4)))
    assert sum(batches) == 100
    assert await query(database_url, COUNT) == [(0,)]


async def test_retention_does_not_wait_for_a_locked_run(engine: AsyncEngine, database_url: str) -> None:
    await runs_of_age(engine, 31, 3)
    async with engine.begin() as writer:
        await writer.execute(text("UPDATE job_execution_logs SET records_collected = 1 WHERE id = 1"))
        async with asyncio.timeout(5):
            await delete_expired(engine, DAYS_30, lambda _: None)
    assert await query(database_url, COUNT) == [(1,)]
