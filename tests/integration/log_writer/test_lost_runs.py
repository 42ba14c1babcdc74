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


async def everything_is_read() -> frozenset[int]:
    return frozenset(range(RUN_EVENTS.partitions))


async def nobody_knows() -> frozenset[int]:
    pytest.fail("without an overdue run Kafka need not be asked")


def begun(minutes_ago: float, **changes: object) -> RunStarted:
    """With a deadline two minutes after its start."""
    return a_start(started_at=datetime.now(UTC) - timedelta(minutes=minutes_ago), **changes)


async def write_events(engine: AsyncEngine, *events: RunEvent) -> None:
    await write_batch(engine, fold(events), ScheduleChanges())


async def test_a_run_that_is_past_its_deadline_and_the_grace_is_closed_as_failed(
    engine: AsyncEngine, database_url: str
) -> None:
    await write_events(engine, begun(3.5, collector="collector-7"))
    assert await close_lost_runs(engine, everything_is_read, GRACE) == 1
    columns = "status, error_class, closed_by_sweep, finished_at <= now(), duration_seconds, error_message"
    [(*row, duration, message)] = await query(database_url, f"SELECT {columns} FROM job_execution_logs")
    assert row == ["failed", "collector_lost", True, True]
    assert duration == pytest.approx(210, abs=30)
    assert "collector-7" in message
    assert "UTC" in message


async def test_runs_within_their_deadline_or_the_grace_or_ended_are_left_alone(
    engine: AsyncEngine, database_url: str
) -> None:
    await write_events(engine, begun(1), begun(2.5), an_ending(started_at=datetime.now(UTC) - timedelta(hours=1)))
    assert await close_lost_runs(engine, nobody_knows, GRACE) == 0
    assert sorted(await query(database_url, ROWS)) == [
        ("running", None, False),
        ("running", None, False),
        ("success", None, False),
    ]


async def test_a_run_whose_partition_has_unread_messages_is_not_judged(engine: AsyncEngine, database_url: str) -> None:
    unread, read = 1, next(number for number in range(2, 99) if partition_of(number) != partition_of(1))
    await write_events(engine, begun(10, config_id=unread), begun(10, config_id=read))

    async def all_but_one() -> frozenset[int]:
        return await everything_is_read() - {partition_of(unread)}

    assert await close_lost_runs(engine, all_but_one, GRACE) == 1
    assert await query(database_url, "SELECT config_id FROM job_execution_logs WHERE status = 'running'") == [(unread,)]


async def test_an_ending_that_arrives_while_the_sweep_asks_kafka_is_not_overwritten(
    engine: AsyncEngine, database_url: str
) -> None:
    start = begun(10)
    await write_events(engine, start)

    async def meanwhile_it_ends() -> frozenset[int]:
        await write_events(engine, an_ending(run_id=start.run_id, started_at=start.started_at))
        return await everything_is_read()

    assert await close_lost_runs(engine, meanwhile_it_ends, GRACE) == 0
    assert await query(database_url, ROWS) == [("success", None, False)]


async def test_a_real_ending_that_comes_late_replaces_the_presumed_one(engine: AsyncEngine, database_url: str) -> None:
    start = begun(10)
    await write_events(engine, start)
    await close_lost_runs(engine, everything_is_read, GRACE)
    await write_events(engine, an_ending(run_id=start.run_id, started_at=start.started_at))
    assert await query(database_url, ROWS) == [("success", None, False)]


async def test_a_start_that_comes_late_does_not_open_a_closed_run_again(engine: AsyncEngine, database_url: str) -> None:
    start = begun(10)
    await write_events(engine, start)
    await close_lost_runs(engine, everything_is_read, GRACE)
    await write_events(engine, start)
    await write_events(engine, begun(0, run_id=start.run_id))
    assert await query(database_url, ROWS) == [("failed", "collector_lost", True)]


async def test_a_run_that_another_collector_took_up_again_gets_the_time_of_the_second_attempt(
    engine: AsyncEngine, database_url: str
) -> None:
    start = begun(10)
    await write_events(engine, start)
    await write_events(engine, begun(1, run_id=start.run_id))
    assert await close_lost_runs(engine, nobody_knows, GRACE) == 0
    assert await query(database_url, ROWS) == [("running", None, False)]
