from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.coverage import SeriesProgress
from contracts.schedule import JobScheduled
from contracts.topics import SCHEDULE_STATE
from log_writer.schedule import fold
from log_writer.write import write_batch
from runtime.kafka.codec import Tombstone
from support.run_histories import NOON, a_state
from support.writers import query

pytestmark = pytest.mark.postgres

GONE = Tombstone(SCHEDULE_STATE, "1")
LATER = NOON + timedelta(hours=1)
JOBS = "SELECT config_id, config_version, next_fire_at FROM scheduled_jobs ORDER BY 1"


async def apply(engine: AsyncEngine, *messages: JobScheduled | Tombstone) -> None:
    await write_batch(engine, [], fold(messages, LATER))


def row(state: JobScheduled) -> tuple[object, ...]:
    return state.config_id, state.config_version, state.next_fire_at


async def test_the_table_follows_the_state_and_the_tombstone(engine: AsyncEngine, database_url: str) -> None:
    first, second, other = a_state(1), a_state(1, seconds=600), a_state(2)
    await apply(engine, first, other)
    assert await query(database_url, JOBS) == [row(first), row(other)]
    await apply(engine, second)
    assert await query(database_url, JOBS) == [row(second), row(other)]
    await apply(engine, GONE)
    assert await query(database_url, JOBS) == [row(other)]


async def test_every_column_is_stored(engine: AsyncEngine, database_url: str) -> None:
    anchors = {"1m": NOON, "1h": NOON - timedelta(hours=2), "1d": NOON - timedelta(days=9)}
    progress = tuple(SeriesProgress(timeframe=timeframe, anchor=anchor) for timeframe, anchor in anchors.items())
    state = a_state(5, version=3, timeframes=("1m", "1h"), progress=progress)
    await apply(engine, state)
    columns = "job_name, exchange, symbol, interval_minutes, active, last_slot, covered_until, updated_at"
    assert await query(database_url, f"SELECT {columns} FROM scheduled_jobs") == [
        ("collect_data_5", "kraken", "BTC/EUR", 10, True, state.last_slot, anchors["1h"], state.occurred_at)
    ]


async def test_an_older_state_changes_nothing(engine: AsyncEngine, database_url: str) -> None:
    newest = a_state(1, version=2, seconds=600)
    await apply(engine, newest)
    await apply(engine, a_state(1, version=2, seconds=0))
    await apply(engine, a_state(1, version=1, seconds=900))
    assert await query(database_url, JOBS) == [row(newest)]


async def test_a_state_from_the_future_is_replaced_by_the_next_one(engine: AsyncEngine, database_url: str) -> None:
    await apply(engine, a_state(1, version=2, seconds=7200))
    await apply(engine, a_state(1, version=1, seconds=600))
    correct = a_state(1, version=2, seconds=600)
    await apply(engine, correct)
    assert await query(database_url, JOBS) == [row(correct)]
    await apply(engine, a_state(1, version=2, seconds=0))
    assert await query(database_url, JOBS) == [row(correct)]


async def test_a_disabled_config_stays_in_the_table_as_inactive(engine: AsyncEngine, database_url: str) -> None:
    disabled = a_state(1, seconds=600).model_copy(update={"active": False, "next_fire_at": None})
    await apply(engine, a_state(1), disabled)
    assert await query(database_url, "SELECT active, next_fire_at FROM scheduled_jobs") == [(False, None)]


async def test_a_tombstone_and_a_new_state_in_one_batch_leave_the_new_state(
    engine: AsyncEngine, database_url: str
) -> None:
    await apply(engine, a_state(1, version=9))
    new = a_state(1, version=1)
    await apply(engine, GONE, new)
    assert await query(database_url, JOBS) == [row(new)]
