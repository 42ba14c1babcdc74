import asyncio
import json
import random
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.coverage import Absence, AbsenceClass, RejectedRow, Span
from contracts.runs import RunFinished
from contracts.vocabulary import JobType, RunStatus, Trigger
from log_writer.runs import RunEvent, RunRow, fold, merge
from log_writer.schedule import ScheduleChanges
from log_writer.write import upsert_runs, write_batch
from runtime.database import driver_transaction, is_transient
from support.run_histories import NOON, History, a_result, a_start, an_ending, histories
from support.writers import query

pytestmark = pytest.mark.postgres

NO_SCHEDULE = ScheduleChanges()


async def write_events(engine: AsyncEngine, events: list[RunEvent]) -> None:
    await write_batch(engine, fold(events), NO_SCHEDULE)


async def stored_rows(engine: AsyncEngine) -> dict[UUID, RunRow]:
    """The rows of the table as `RunRow`s. Also checks the derived columns."""
    columns = ", ".join(field for field in RunRow._fields if field != "event_id").replace("metadata", "metadata::text")
    async with driver_transaction(engine) as connection:
        records = await connection.fetch(f"SELECT {columns}, duration_seconds FROM job_execution_logs")
    rows = {}
    for record in records:
        *values, duration = record
        fields = dict(zip([each for each in RunRow._fields if each != "event_id"], values, strict=True))
        metadata = json.loads(fields.pop("metadata"))
        row = RunRow(**fields, metadata=json.dumps(metadata, sort_keys=True), event_id=UUID(metadata["event_id"]))
        assert row.duration_seconds == duration
        rows[row.run_id] = row
    return rows


def expected_rows(rows: list[RunRow]) -> dict[UUID, RunRow]:
    return {row.run_id: row._replace(metadata=json.dumps(json.loads(row.metadata), sort_keys=True)) for row in rows}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(histories(), min_size=1, max_size=8), rng=st.randoms(use_true_random=False))
async def test_postgres_and_python_merge_equally_in_any_order_and_batches(
    engine: AsyncEngine, runs: list[History], rng: random.Random
) -> None:
    await query_all(engine, "TRUNCATE job_execution_logs")
    events = [event for history in runs for event in history]
    delivered = events * 2
    rng.shuffle(delivered)
    while delivered:
        size = rng.randint(1, 10)
        await write_events(engine, delivered[:size])
        delivered = delivered[size:]
    assert await stored_rows(engine) == expected_rows(fold(events))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories(), position=st.integers(0, 6), earlier=st.integers(-3, 3))
async def test_postgres_and_python_merge_presumed_ends_equally(
    engine: AsyncEngine, history: History, position: int, earlier: int
) -> None:
    await query_all(engine, "TRUNCATE job_execution_logs")
    [start] = fold([a_start(run_id=history[0].run_id, started_at=NOON + timedelta(seconds=earlier))])
    presumed = start._replace(
        status="failed", closed_by_sweep=True, finished_at=start.started_at + timedelta(seconds=180)
    )
    rows = [row for event in history for row in fold([event])]
    rows.insert(position, presumed)
    merged = rows[0]
    for row in rows:
        async with driver_transaction(engine) as connection:
            await upsert_runs(connection, [row])
        merged = merge(merged, row)
    assert await stored_rows(engine) == expected_rows([merged])


async def test_a_run_keeps_the_job_type_of_its_events(engine: AsyncEngine, database_url: str) -> None:
    start = a_start(job_type=JobType.REPAIR, trigger=Trigger.RANGE)
    end = an_ending(run_id=start.run_id, job_type=JobType.REPAIR, trigger=Trigger.RANGE)
    old = an_ending()  # the events of the release before have no job type
    for event in (start, end, start, old):
        await write_events(engine, [event])
        log = await query(database_url, "SELECT run_id, job_type, trigger FROM job_execution_logs ORDER BY id")
        assert log[0] == (start.run_id, "repair", "range")
    assert log[1:] == [(old.run_id, "data_collection", "scheduled")]
    counted = "SELECT job_type, sum(runs) FROM run_changes GROUP BY 1 HAVING sum(runs) <> 0 ORDER BY 1"
    assert await query(database_url, counted) == [("data_collection", 1), ("repair", 1)]


async def query_all(engine: AsyncEngine, sql: str) -> None:
    async with driver_transaction(engine) as connection:
        await connection.execute(sql)


async def test_a_run_is_one_row_from_its_start_to_its_end(engine: AsyncEngine, database_url: str) -> None:
    start = a_start(config_id=42)
    await write_events(engine, [start])
    row = "SELECT id, job_name, timeframe, status, duration_seconds, records_collected FROM job_execution_logs"
    [(log_id, *running)] = await query(database_url, row)
    assert running == ["collect_data_42", None, "running", None, 0]
    await write_events(engine, [an_ending(run_id=start.run_id, config_id=42)])
    assert await query(database_url, row) == [(log_id, "collect_data_42", None, "success", 3.2, 11)]


async def test_the_metadata_in_the_table_has_spans_notes_rejected_rows_and_the_open_hole(
    engine: AsyncEngine, database_url: str
) -> None:
    minutes = [NOON + timedelta(minutes=n) for n in range(10)]
    result = a_result(
        notes=("a note\x00", "another"),
        anchor=minutes[9],
        verified=(Span(start=minutes[0], end=minutes[4]), Span(start=minutes[6], end=minutes[9])),
        requested=(Span(start=minutes[4], end=minutes[6]),),
        open_hole=Absence(start=minutes[4], end=minutes[6], absence_class=AbsenceClass.REJECTED, evidence="sent twice"),
        rejected=(RejectedRow(open_time=minutes[4], reason="high below low", row="[1, \x00]"),),
        rejected_count=1,
    )
    await write_events(engine, [an_ending(status=RunStatus.FAILED, results=(result,))])
    [(stored,)] = await query(database_url, "SELECT metadata -> 'results' -> 0 FROM job_execution_logs")
    found = json.loads(stored)
    assert found["notes"] == ["a note\N{REPLACEMENT CHARACTER}", "another"]
    assert [span["end"] for span in found["verified"]] == ["2026-11-22T12:04:00Z", "2026-11-22T12:09:00Z"]
    assert found["requested"] == [{"start": "2026-11-22T12:04:00Z", "end": "2026-11-22T12:06:00Z"}]
    assert (found["open_hole"]["absence_class"], found["open_hole"]["evidence"]) == ("rejected", "sent twice")
    assert found["rejected"][0]["row"] == "[1, \N{REPLACEMENT CHARACTER}]"
    assert (found["anchor"], found["rejected_count"]) == ("2026-11-22T12:09:00Z", 1)


async def test_a_repeated_write_changes_nothing(engine: AsyncEngine, database_url: str) -> None:
    start = a_start()
    events: list[RunEvent] = [start, an_ending(run_id=start.run_id), an_ending(), a_start()]
    await write_events(engine, events)
    versions = await query(database_url, "SELECT ctid::text, xmin::text FROM job_execution_logs ORDER BY id")
    for event in [*events, *reversed(events)]:
        await write_events(engine, [event])
    assert await query(database_url, "SELECT ctid::text, xmin::text FROM job_execution_logs ORDER BY id") == versions


async def test_a_batch_is_written_completely_or_not_at_all(engine: AsyncEngine, database_url: str) -> None:
    await write_events(engine, [an_ending() for _ in range(8)])
    too_many = an_ending(run_id=UUID(int=2**128 - 1)).model_copy(update={"records_collected": 3_000_000_000})
    with pytest.raises(asyncpg.DataError) as caught:
        await write_events(engine, [*(an_ending() for _ in range(8)), too_many])
    assert not is_transient(caught.value)
    assert await query(database_url, "SELECT count(*) FROM job_execution_logs") == [(8,)]


async def test_concurrent_writers_of_the_same_runs_do_not_deadlock(engine: AsyncEngine, database_url: str) -> None:
    starts = [a_start() for _ in range(200)]
    ends: list[RunFinished] = [an_ending(run_id=start.run_id) for start in starts]

    async def writer(seed: int) -> None:
        mine: list[RunEvent] = [*starts, *ends]
        random.Random(seed).shuffle(mine)
        for at in range(0, len(mine), 100):
            await write_events(engine, mine[at : at + 100])

    await asyncio.gather(*(writer(seed) for seed in range(5)))
    assert await query(database_url, "SELECT status, count(*) FROM job_execution_logs GROUP BY 1") == [("success", 200)]


async def test_an_error_message_is_stored_without_its_nul_characters(engine: AsyncEngine, database_url: str) -> None:
    await write_events(engine, [an_ending(status=RunStatus.FAILED, error_message="bad \x00 body")])
    assert await query(database_url, "SELECT error_message FROM job_execution_logs") == [("bad \ufffd body",)]
