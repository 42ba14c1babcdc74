import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.runs import RunFinished, RunStarted
from contracts.topics import RUN_EVENTS
from contracts.vocabulary import ErrorClass, RunStatus
from log_writer.lost_runs import close_lost_runs
from log_writer.retention import delete_expired
from log_writer.runs import RunEvent, fold
from log_writer.schedule import ScheduleChanges
from log_writer.statistics import recount, settle
from log_writer.write import write_batch
from runtime.database import driver_transaction
from store.migrate import upgrade
from support.locks import is_awaited
from support.polling import eventually
from support.run_counts import count_differences
from support.run_histories import NOON, History, a_start, an_ending, histories
from support.writers import query

pytestmark = pytest.mark.postgres

LONG_AGO = datetime(2025, 1, 14, 23, 15, tzinfo=UTC)
"""Before any retention and deadline, and late enough that a few half hours later it is another day."""
HALF_HOUR = timedelta(minutes=30)


async def write_events(engine: AsyncEngine, *events: RunEvent) -> None:
    await write_batch(engine, fold(events), ScheduleChanges())


async def all_partitions() -> frozenset[int]:
    return frozenset(range(RUN_EVENTS.partitions))


async def close_all_lost_runs(engine: AsyncEngine) -> None:
    await close_lost_runs(engine, all_partitions, timedelta(0))


async def expire(engine: AsyncEngine, before: datetime) -> None:
    await delete_expired(engine, datetime.now(UTC) - before, lambda _: None, batch_rows=3)


async def differences(engine: AsyncEngine) -> list[tuple[Any, ...]]:
    async with driver_transaction(engine) as connection:
        return await count_differences(connection)


def stretched(event: RunEvent) -> RunEvent:
    """The event with half hours after LONG_AGO instead of seconds after noon, so that runs start in different hours."""
    instants = {name: getattr(event, name, None) for name in ("started_at", "finished_at", "deadline_at")}
    moved = {name: LONG_AGO + (at - NOON) / timedelta(seconds=1) * HALF_HOUR for name, at in instants.items() if at}
    return event.model_copy(update=moved)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(histories(), min_size=1, max_size=8), rng=st.randoms(use_true_random=False))
async def test_the_counts_equal_the_log_after_any_history(
    engine: AsyncEngine, runs: list[History], rng: random.Random
) -> None:
    async with driver_transaction(engine) as connection:
        await connection.execute("TRUNCATE job_execution_logs")
    delivered = [stretched(event) for history in runs for event in history] * 2
    rng.shuffle(delivered)
    while delivered:
        size = rng.randint(1, 10)
        await write_events(engine, *delivered[:size])
        delivered = delivered[size:]
        match rng.randrange(6):
            case 0:
                await close_all_lost_runs(engine)
            case 1:
                await expire(engine, LONG_AGO + rng.randint(0, 4) * HALF_HOUR)
            case 2 | 3:
                await settle(engine)
        assert await differences(engine) == []


async def test_the_comparison_of_counts_and_log_finds_a_difference(engine: AsyncEngine) -> None:
    await write_events(engine, an_ending(), a_start())
    for spoil in (
        "UPDATE run_hours SET runs = runs + 1 WHERE status = 'running'",
        "UPDATE run_hours SET duration_microseconds = duration_microseconds + 1 WHERE status = 'success'",
        "UPDATE run_durations SET bucket = bucket + 1 WHERE span = 'hour'",
        "DELETE FROM run_durations WHERE span = 'day'",
        "INSERT INTO run_changes VALUES ('2026-11-22 12:00Z', 'data_collection', 'running', '', NULL, 1, 0, 0)",
        "UPDATE run_exchange_hours SET records = records + 1",
        "INSERT INTO run_exchange_changes VALUES ('2026-11-22 12:00Z', 'data_collection', 'okx', 1, 0, 0)",
    ):
        await recount(engine)
        assert await differences(engine) == []
        async with driver_transaction(engine) as connection:
            await connection.execute(spoil)
        assert await differences(engine) != [], spoil


async def test_a_run_is_counted_only_in_its_current_hour_and_status(engine: AsyncEngine, database_url: str) -> None:
    counts = "SELECT hour, status, error_class, runs, timed_runs, duration_microseconds, records FROM run_hours"
    start = a_start(started_at=NOON + timedelta(minutes=5))
    failed = an_ending(run_id=start.run_id, started_at=start.started_at, status=RunStatus.FAILED)
    an_hour_earlier = an_ending(run_id=start.run_id, started_at=NOON - timedelta(minutes=1))
    for event, expected in (
        (start, (NOON, "running", "", 1, 0, 0, 0)),
        (failed, (NOON, "failed", ErrorClass.NETWORK.value, 1, 1, 3_200_000, 0)),
        (an_hour_earlier, (NOON - timedelta(hours=1), "success", "", 1, 1, 3_200_000, 11)),
    ):
        await write_events(engine, event)
        await settle(engine)
        assert await query(database_url, counts) == [expected]


async def test_an_event_that_changes_no_count_adds_no_run_change(engine: AsyncEngine, database_url: str) -> None:
    start = a_start()
    await write_events(engine, start)
    assert await settle(engine) == 1
    await write_events(engine, start, a_start(run_id=start.run_id, deadline_at=start.deadline_at + HALF_HOUR))
    assert await query(database_url, "SELECT count(*) FROM run_changes") == [(0,)]
    assert await settle(engine) == 0


async def test_only_one_instance_settles_counts_at_a_time(engine: AsyncEngine, database_url: str) -> None:
    await write_events(engine, an_ending())
    async with driver_transaction(engine) as other:
        assert await other.fetchval("SELECT settle_run_changes()") == 1
        assert await settle(engine) == 0
        await write_events(engine, an_ending())
    assert await query(database_url, "SELECT sum(runs) FROM run_hours") == [(1,)]
    assert await differences(engine) == []


async def test_no_session_waits_for_an_uncommitted_change_of_the_log(engine: AsyncEngine) -> None:
    await write_events(engine, an_ending(), an_ending())
    async with driver_transaction(engine) as slow:
        await slow.execute("DELETE FROM job_execution_logs WHERE id = 1")
        async with asyncio.timeout(10):
            await write_events(engine, an_ending())
            await settle(engine)
    await settle(engine)
    assert await differences(engine) == []


async def test_counts_of_hours_without_runs_are_deleted(engine: AsyncEngine, database_url: str) -> None:
    start = stretched(a_start())
    await write_events(engine, start, stretched(an_ending()))
    await write_events(engine, stretched(an_ending(run_id=start.run_id)))
    await write_events(engine, an_ending(started_at=datetime.now(UTC)))
    await settle(engine)
    await expire(engine, LONG_AGO + timedelta(days=1))
    await settle(engine)
    assert await query(database_url, "SELECT sum(runs), count(*) FROM run_hours") == [(1, 1)]
    assert await query(database_url, "SELECT span, runs FROM run_durations ORDER BY 1") == [("day", 1), ("hour", 1)]
    assert await query(database_url, "SELECT sum(runs), count(*) FROM run_exchange_hours") == [(1, 1)]


async def test_manual_changes_of_the_log_are_counted(engine: AsyncEngine, database_url: str) -> None:
    await write_events(engine, *(an_ending(started_at=NOON + n * HALF_HOUR) for n in range(8)))
    for by_hand in (
        "DELETE FROM job_execution_logs WHERE started_at < '2026-11-22 12:30Z'",
        "UPDATE job_execution_logs SET job_type = 'backfill' WHERE id % 2 = 0",
        "UPDATE job_execution_logs SET started_at = started_at - interval '1 day', records_collected = 0",
        "UPDATE job_execution_logs SET duration_seconds = 0.0000001 WHERE id = 5",
        "UPDATE job_execution_logs SET duration_seconds = 0.000001 WHERE id = 5",
        "TRUNCATE job_execution_logs",
    ):
        await settle(engine)
        await query(database_url, by_hand)
        assert await differences(engine) == [], by_hand
    assert await query(database_url, "SELECT count(*) FROM run_hours") == [(0,)]
    assert await query(database_url, "SELECT count(*) FROM run_exchange_hours") == [(0,)]


async def test_concurrent_writers_of_the_same_hours_lose_no_count_while_counts_are_settled(engine: AsyncEngine) -> None:
    starts = [a_start(started_at=LONG_AGO + n % 8 * HALF_HOUR) for n in range(200)]
    ends = [
        an_ending(
            run_id=start.run_id,
            started_at=start.started_at - n % 3 * HALF_HOUR,
            status=list(RunStatus)[1 + n % 3],
        )
        for n, start in enumerate(starts)
    ]

    async def writer(seed: int) -> None:
        rng = random.Random(seed)
        mine: list[RunStarted | RunFinished] = [*starts, *ends]
        rng.shuffle(mine)
        for at in range(0, len(mine), 20):
            await write_events(engine, *mine[at : at + 20])
            if rng.random() < 0.2:
                await close_all_lost_runs(engine)
            if rng.random() < 0.2:
                await expire(engine, LONG_AGO)
            await settle(engine)

    await asyncio.gather(*(writer(seed) for seed in range(4)))
    assert await differences(engine) == []


@pytest.mark.parametrize("before", ["0002", "0007"])
async def test_the_migration_counts_existing_runs_during_writes(database_url: str, before: str) -> None:
    old = await asyncpg.connect(database_url)
    insert = """
        INSERT INTO job_execution_logs (job_name, job_type, symbol, exchange, started_at, finished_at, duration_seconds,
            status, records_collected, run_id, config_id, trigger, scheduled_for)
        SELECT 'collect_data_1', 'data_collection', 'BTC/USDT', 'binance', at, at, n % 7 / 3.0,
            CASE WHEN n % 3 = 0 THEN 'failed' ELSE 'success' END, 10, gen_random_uuid(), 1, 'scheduled', at
        FROM generate_series(1, 500) AS n, LATERAL (SELECT now() - n * interval '10 minutes' AS at) AS times
    """
    await old.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await upgrade(database_url, before)
    await old.execute(insert)
    async with old.transaction():
        await old.execute(insert)
        migration = asyncio.create_task(upgrade(database_url))

        async def it_waits() -> bool:
            assert not migration.done()
            return await is_awaited(old, "job_execution_logs")

        await eventually(it_waits, within=20)
    await migration
    await old.execute(insert)
    if before == "0002":  # the counts of migration 0003 are then those of the migration alone
        assert await old.fetchval("SELECT sum(runs) FROM run_hours") == 1000
    assert await old.fetchval("SELECT sum(runs) FROM run_exchange_hours") == 1000
    assert await count_differences(old) == []
    await old.close()


async def test_an_operator_can_rebuild_all_counts(
    engine: AsyncEngine, database_url: str, login_url: Callable[[str], str]
) -> None:
    await write_events(engine, an_ending(), a_start())
    await query(
        database_url, "TRUNCATE run_hours, run_durations, run_changes, run_exchange_hours, run_exchange_changes"
    )
    code, output = await rebuild_stats(login_url("log-writer"))
    assert (code, output) == (0, "The run log is counted again.\n")
    assert await differences(engine) == []
    code, output = await rebuild_stats("postgresql://unknown@127.0.0.1:1/nothing")
    assert (code, "log-writer:" in output, "Traceback" in output) == (1, True, False), output


async def rebuild_stats(database_url: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "log_writer", "rebuild-stats",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "DATABASE_URL": database_url},
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode, output.decode()
