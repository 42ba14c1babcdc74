from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.runs import RunStarted
from contracts.topics import RUN_EVENTS
from log_writer.lost_runs import close_lost_runs, partition_of
from log_writer.runs import RunEvent, fold
from log_writer.schedule import ScheduleChanges
from log_writer.write import write_batch
from support.run_histories import a_start, an_ending
from support.writers import query

pytestmark = pytest.mark.postgres

GRACE = timedelta(seconds=60)
ROWS = "SELECT status, error_class, closed_by_sweep FROM job_execution_logs"


async def all_partitions() -> frozenset[int]:
    return frozenset(range(RUN_EVENTS.partitions))


async def must_not_be_called() -> frozenset[int]:
    pytest.fail("without an overdue run Kafka need not be asked")


def started(minutes_ago: float, **changes: object) -> RunStarted:
    """A start with a deadline two minutes later."""
    return a_start(started_at=datetime.now(UTC) - timedelta(minutes=minutes_ago), **changes)


async def write_events(engine: AsyncEngine, *events: RunEvent) -> None:
    await write_batch(engine, fold(events), ScheduleChanges())


async def test_a_run_that_is_past_its_deadline_and_the_grace_is_closed_as_failed(
    engine: AsyncEngine, database_url: str
) -> None:
    await write_events(engine, started(3.5, collector="collector-7"))
    assert await close_lost_runs(engine, all_partitions, GRACE) == 1
    columns = "status, error_class, closed_by_sweep, finished_at <= now(), duration_seconds, error_message"
    [(*row, duration, message)] = await query(database_url, f"SELECT {columns} FROM job_execution_logs")
    assert row == ["failed", "collector_lost", True, True]
    assert duration == pytest.approx(210, abs=30)
    assert "collector-7" in message
    assert "UTC" in message


async def test_runs_within_deadline_or_grace_and_ended_runs_are_not_closed(
    engine: AsyncEngine, database_url: str
) -> None:
    await write_events(engine, started(1), started(2.5), an_ending(started_at=datetime.now(UTC) - timedelta(hours=1)))
    assert await close_lost_runs(engine, must_not_be_called, GRACE) == 0
    assert sorted(await query(database_url, ROWS)) == [
        ("running", None, False),
        ("running", None, False),
        ("success", None, False),
    ]


async def test_a_run_whose_partition_has_unread_messages_is_not_closed(engine: AsyncEngine, database_url: str) -> None:
    unread, read = 1, next(number for number in range(2, 99) if partition_of(number) != partition_of(1))
    await write_events(engine, started(10, config_id=unread), started(10, config_id=read))

    async def all_but_one() -> frozenset[int]:
        return await all_partitions() - {partition_of(unread)}

    assert await close_lost_runs(engine, all_but_one, GRACE) == 1
    assert await query(database_url, "SELECT config_id FROM job_execution_logs WHERE status = 'running'") == [(unread,)]


async def test_an_end_that_arrives_while_the_check_reads_kafka_is_not_overwritten(
    engine: AsyncEngine, database_url: str
) -> None:
    start = started(10)
    await write_events(engine, start)

    async def write_its_end() -> frozenset[int]:
        await write_events(engine, an_ending(run_id=start.run_id, started_at=start.started_at))
        return await all_partitions()

    assert await close_lost_runs(engine, write_its_end, GRACE) == 0
    assert await query(database_url, ROWS) == [("success", None, False)]


async def test_a_late_real_end_replaces_the_presumed_one(engine: AsyncEngine, database_url: str) -> None:
    start = started(10)
    await write_events(engine, start)
    await close_lost_runs(engine, all_partitions, GRACE)
    await write_events(engine, an_ending(run_id=start.run_id, started_at=start.started_at))
    assert await query(database_url, ROWS) == [("success", None, False)]


async def test_a_late_start_does_not_reopen_a_closed_run(engine: AsyncEngine, database_url: str) -> None:
    start = started(10)
    await write_events(engine, start)
    await close_lost_runs(engine, all_partitions, GRACE)
    await write_events(engine, start)
    await write_events(engine, started(0, run_id=start.run_id))
    assert await query(database_url, ROWS) == [("failed", "collector_lost", True)]


async def test_a_run_that_another_collector_repeats_gets_the_deadline_of_the_second_attempt(
    engine: AsyncEngine, database_url: str
) -> None:
    start = started(10)
    await write_events(engine, start)
    await write_events(engine, started(1, run_id=start.run_id))
    assert await close_lost_runs(engine, must_not_be_called, GRACE) == 0
    assert await query(database_url, ROWS) == [("running", None, False)]
