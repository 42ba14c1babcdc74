import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from contracts.dead_letters import DeadLetter
from contracts.topics import DEAD_LETTERS, RUN_EVENTS, SCHEDULE_STATE
from local_stack.keeper import KeptPostgres
from log_writer.app import NAME, build_worker
from log_writer.group_progress import caught_up_partitions
from log_writer.lost_runs import partition_of
from log_writer.runs import RunEvent
from log_writer.settings import LogWriterSettings
from runtime.consumers.commits import RebalanceSafeCommits
from runtime.process.worker import Worker
from runtime.settings import KafkaSettings
from support.consuming import committed
from support.kafka import read_topic
from support.polling import eventually
from support.run_histories import a_start, a_state, an_ending
from support.writers import (
    database_away,
    everything_is_read,
    measured,
    publish,
    publishing,
    query,
    rewind,
    running,
    worker_settings,
)

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]

BY_STATUS = "SELECT status, count(*) FROM job_execution_logs GROUP BY 1 ORDER BY 1"
EVERYTHING = "SELECT * FROM job_execution_logs ORDER BY run_id"
JOBS = "SELECT * FROM scheduled_jobs ORDER BY 1"
COUNTED = "SELECT status, sum(runs)::bigint FROM run_hours GROUP BY 1 ORDER BY 1"


@pytest.fixture
def settings(kafka_settings: KafkaSettings, database_url: str) -> LogWriterSettings:
    return worker_settings(LogWriterSettings, kafka_settings, database_url)


@pytest.fixture
def until(database_url: str) -> Callable[..., Awaitable[None]]:
    """Wait until a query has this result."""

    async def until(sql: str, expected: list[tuple[Any, ...]], within: float = 20) -> None:
        async def answered() -> bool:
            found = await query(database_url, sql)
            assert found == expected
            return True

        await eventually(answered, within=within)

    return until


Until = Callable[..., Awaitable[None]]


def a_busy_morning(runs: int) -> list[RunEvent]:
    """Starts and ends of many configs' runs, shuffled and each twice. A tenth of the runs has no end."""
    rng = random.Random(7)
    events: list[RunEvent] = []
    for number in range(runs):
        start = a_start(config_id=number % 30 + 1, started_at=datetime.now(UTC))
        events += [start]
        if number % 10:
            events += [an_ending(run_id=start.run_id, config_id=start.config_id, started_at=start.started_at)]
    events *= 2
    rng.shuffle(events)
    return events


async def test_shuffled_and_repeated_events_give_one_row_per_run(settings: LogWriterSettings, until: Until) -> None:
    async with running(build_worker(settings)) as worker:
        await publish(settings, RUN_EVENTS, a_busy_morning(300))
        await until(BY_STATUS, [("running", 30), ("success", 270)])
        assert measured(worker, "candlekeep_log_runs_written_total") >= 300
        assert measured(worker, "candlekeep_dead_letters_total", consumer=NAME, topic=RUN_EVENTS.name) == 0


@pytest.mark.real_kafka  # the in-memory broker accepts no commit from outside the group
async def test_reading_everything_again_from_the_beginning_gives_the_identical_table(
    settings: LogWriterSettings, until: Until, database_url: str
) -> None:
    async with running(build_worker(settings)):
        await publish(settings, RUN_EVENTS, a_busy_morning(100))
        await publish(
            settings, SCHEDULE_STATE, [a_state(number, seconds=second) for number in (1, 2) for second in (0, 9)]
        )
        await until(BY_STATUS, [("running", 10), ("success", 90)])
        await until(COUNTED, [("running", 10), ("success", 90)])
        await eventually(lambda: _all_is_committed(settings), within=20)
    before = [await query(database_url, sql) for sql in (EVERYTHING, JOBS)]
    assert [len(rows) for rows in before] == [100, 2]
    await rewind(settings, NAME, RUN_EVENTS, SCHEDULE_STATE)
    assert not await _all_is_committed(settings)
    async with running(build_worker(settings)):
        await eventually(lambda: _all_is_committed(settings), within=20)
    assert [await query(database_url, sql) for sql in (EVERYTHING, JOBS)] == before
    assert await query(database_url, COUNTED) == [("running", 10), ("success", 90)]


async def test_a_crash_between_write_and_commit_gives_the_same_rows(
    settings: LogWriterSettings, until: Until, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die_before_committing(*_: object, **__: object) -> bool:
        return False

    with monkeypatch.context() as patch:
        patch.setattr(RebalanceSafeCommits, "commit", die_before_committing)
        async with running(build_worker(settings)):
            await publish(settings, RUN_EVENTS, a_busy_morning(100))
            await until(BY_STATUS, [("running", 10), ("success", 90)])
    assert not await committed(settings, NAME, RUN_EVENTS)
    before = await query(database_url, EVERYTHING)
    async with running(build_worker(settings)):
        await eventually(lambda: _all_is_committed(settings), within=20)
    assert await query(database_url, EVERYTHING) == before


async def test_during_a_database_outage_nothing_is_committed_and_afterwards_nothing_is_missing(
    settings: LogWriterSettings, until: Until, database_url: str, postgres: KeptPostgres
) -> None:
    async with running(build_worker(settings)) as worker:
        await publish(settings, RUN_EVENTS, [an_ending()])
        await until(BY_STATUS, [("success", 1)])
        await eventually(lambda: _all_is_committed(settings))
        before = await committed(settings, NAME, RUN_EVENTS)
        async with database_away(postgres.url, database_url):
            await publish(settings, RUN_EVENTS, [an_ending() for _ in range(50)])
            await eventually(lambda: _reports_failing_writes(worker), within=20)
            assert worker.health.live_problems() == {}
            assert await committed(settings, NAME, RUN_EVENTS) == before
        await until(BY_STATUS, [("success", 51)], within=40)
        await eventually(lambda: not worker.health.ready_problems())
        await eventually(lambda: _all_is_committed(settings))
    assert await read_topic(settings, DEAD_LETTERS) == []


async def test_unreadable_and_unstorable_messages_become_dead_letters_and_the_rest_is_written(
    settings: LogWriterSettings, until: Until
) -> None:
    after_days = an_ending(started_at=datetime.now(UTC) + timedelta(days=1, hours=1))
    async with running(build_worker(settings)):
        async with publishing(settings) as publisher:
            good = [an_ending() for _ in range(40)]
            await publisher.publish_many(RUN_EVENTS, [*good[:20], after_days, *good[20:]])
            await publisher.publish_raw(RUN_EVENTS, key="7", value=b"\x00not an event", headers={})
            await publisher.publish_raw(SCHEDULE_STATE, key="not a number", value=None, headers={})
            await publisher.publish_many(RUN_EVENTS, [an_ending()])
        await until(BY_STATUS, [("success", 41)])
        await eventually(lambda: _all_is_committed(settings))
    letters = [record.event for record in await read_topic(settings, DEAD_LETTERS)]
    errors = sorted((letter.source_topic, letter.error) for letter in letters if isinstance(letter, DeadLetter))
    assert [topic.removeprefix(settings.kafka_topic_prefix) for topic, _ in errors] == [
        *(RUN_EVENTS.name, RUN_EVENTS.name, SCHEDULE_STATE.name)
    ]
    assert any("more than a day after" in error for _, error in errors)


async def test_scheduled_jobs_follow_the_state_and_the_tombstone(settings: LogWriterSettings, until: Until) -> None:
    async with running(build_worker(settings)), publishing(settings) as publisher:
        await publisher.publish_many(SCHEDULE_STATE, [a_state(1), a_state(2), a_state(1, seconds=600)])
        await until(
            "SELECT config_id, last_slot FROM scheduled_jobs ORDER BY 1",
            [(1, a_state(1, seconds=600).last_slot), (2, a_state(2).last_slot)],
        )
        await publisher.tombstone(SCHEDULE_STATE, "1")
        await until("SELECT config_id FROM scheduled_jobs", [(2,)])


async def test_a_lost_run_is_closed_and_its_late_end_replaces_this(
    kafka_settings: KafkaSettings, database_url: str, until: Until
) -> None:
    settings = worker_settings(
        LogWriterSettings, kafka_settings, database_url, lost_run_check_seconds=0.2, lost_run_grace_seconds=1
    )
    start = a_start(started_at=datetime.now(UTC) - timedelta(minutes=3))
    async with running(build_worker(settings)) as worker:
        await publish(settings, RUN_EVENTS, [start])
        await until(BY_STATUS, [("failed", 1)])
        assert measured(worker, "candlekeep_log_lost_runs_closed_total") == 1
        await publish(settings, RUN_EVENTS, [an_ending(run_id=start.run_id, started_at=start.started_at)])
        await until(BY_STATUS, [("success", 1)])


async def test_only_partitions_without_unread_messages_are_caught_up(settings: LogWriterSettings, until: Until) -> None:
    everything = frozenset(range(RUN_EVENTS.partitions))
    await publish(settings, RUN_EVENTS, [an_ending(config_id=7)])
    assert await caught_up_partitions(settings, NAME) == everything - {partition_of(7)}
    async with running(build_worker(settings)):
        await until(BY_STATUS, [("success", 1)])
        await eventually(lambda: _all_is_committed(settings))
        assert await caught_up_partitions(settings, NAME) == everything
    await publish(settings, RUN_EVENTS, [an_ending(config_id=8)])
    assert await caught_up_partitions(settings, NAME) == everything - {partition_of(8)}


@pytest.mark.real_kafka  # the in-memory broker has a race if a group has several members
async def test_two_instances_share_the_work(settings: LogWriterSettings, until: Until) -> None:
    async with running(build_worker(settings)) as one, running(build_worker(settings)) as other:
        await publish(settings, RUN_EVENTS, a_busy_morning(300))
        await until(BY_STATUS, [("running", 30), ("success", 270)])

        def both_wrote() -> bool:
            written = [measured(each, "candlekeep_log_runs_written_total") for each in (one, other)]
            assert min(written) > 0, written
            return True

        await eventually(both_wrote)


async def test_a_run_that_ends_is_in_the_table_at_once(settings: LogWriterSettings, database_url: str) -> None:
    delays = []
    watching = await asyncpg.connect(database_url)
    async with running(build_worker(settings)), publishing(settings) as publisher:
        for _ in range(15):
            ending = an_ending(run_id=uuid4())
            await publisher.publish(RUN_EVENTS, ending)
            acknowledged = time.perf_counter()
            while not await watching.fetchval("SELECT 1 FROM job_execution_logs WHERE run_id = $1", ending.run_id):
                assert time.perf_counter() - acknowledged < 10
                await asyncio.sleep(0.001)
            delays.append(time.perf_counter() - acknowledged)
    await watching.close()
    print(f"acknowledgement to table: median {median(delays) * 1000:.1f} ms, max {max(delays) * 1000:.1f} ms")
    assert median(delays) < 0.15


async def _all_is_committed(settings: LogWriterSettings) -> bool:
    return await everything_is_read(settings, NAME, RUN_EVENTS, SCHEDULE_STATE)


def _reports_failing_writes(worker: Worker) -> bool:
    return any("writing fails" in problem for problem in worker.health.ready_problems().values())
