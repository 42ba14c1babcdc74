"""History from a start date becomes whole by itself, although processes are killed meanwhile."""

import signal
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from contracts.coverage import ANSWERED_CLASSES, names_of
from local_stack.keeper import KeptKafka
from support.faults.system import MARKETS, RunningSystem, errors_as_assertions, running_system
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(420)]
SEED = 20_261_127
DAYS = 30
ONE_PER_EXCHANGE = MARKETS[:5]
SERVICES = ("admin-api", "scheduler", "collector", "log-writer", "candle-writer", "backfiller")

_UNANSWERED = """
SELECT exchange, symbol, tstzmultirange(tstzrange($1::timestamptz, $3::timestamptz)) - verified - coalesce(
  (SELECT range_agg(tstzrange(starts_at, ends_at)) FROM absences
   WHERE series_id = series.id AND absence_class = ANY($2::text[])), '{}') AS rest
FROM series LEFT JOIN coverage ON series_id = series.id
"""
_OVERLAPPING = """
SELECT one.id, other.id FROM backfill_chunks AS one JOIN backfill_chunks AS other
  ON one.series_id = other.series_id AND one.id < other.id
WHERE tstzrange(one.starts_at, one.ends_at) && tstzrange(other.starts_at, other.ends_at)
  AND one.state <> 'cancelled' AND other.state <> 'cancelled'
"""

_OPEN_CHUNKS = """
SELECT exchange, state, starts_at, ends_at, attempts, next_attempt_at, reason FROM backfill_chunks
WHERE ended_at IS NULL ORDER BY starts_at DESC LIMIT 5
"""


@pytest.fixture
async def system(kafka: KeptKafka, database_url: str, tmp_path: Path) -> AsyncIterator[RunningSystem]:
    async with running_system(system_options(kafka, database_url, tmp_path), seed=SEED) as running:
        yield running


async def want_history(system: RunningSystem) -> datetime:
    """A config per exchange with a start date. Returns the first instant of the wanted history."""
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
    for exchange, symbol in ONE_PER_EXCHANGE:
        body = {"exchange": exchange, "symbol": symbol, "timeframes": ["1m"], "interval_minutes": 1}
        call = await system.call("create", "POST", "/configs", body | {"start_date": f"{start:%Y-%m-%d}"})
        assert call.config_id is not None
        system.config_ids.append(call.config_id)
    return start


async def query(system: RunningSystem, sql: str, *values: Any) -> list[Mapping[str, Any]]:
    connection = await asyncpg.connect(system.database_url)
    try:
        rows: list[Mapping[str, Any]] = await connection.fetch(sql, *values)
        return rows
    finally:
        await connection.close()


async def wait_for_chunks(system: RunningSystem, count: int) -> None:
    """Wait until so many chunks have ended."""

    async def ended() -> bool:
        with errors_as_assertions():
            [row] = await query(system, "SELECT count(*) FROM backfill_chunks WHERE ended_at IS NOT NULL")
        assert row["count"] >= count, f"{row['count']} of {count} chunks have ended"
        return True

    await eventually(ended, within=120, every=0.2)


async def wait_until_whole(system: RunningSystem, start: datetime) -> None:
    """Wait until every instant is verified, or absent for a final reason. Scheduled runs read the newest hour."""
    until = datetime.now(UTC) - timedelta(hours=1)
    final = names_of(ANSWERED_CLASSES)

    async def whole() -> bool:
        with errors_as_assertions():
            rows = await query(system, _UNANSWERED, start, final, until)
        assert len(rows) == len(ONE_PER_EXCHANGE)
        open_series = [(row["exchange"], row["rest"][-1:]) for row in rows if row["rest"] is None or len(row["rest"])]
        chunks = await query(system, _OPEN_CHUNKS)
        assert not open_series, (open_series, [tuple(row) for row in chunks])
        return True

    await eventually(whole, within=180, every=1.0)


async def test_history_becomes_whole_although_every_process_is_killed_meanwhile(system: RunningSystem) -> None:
    start = await want_history(system)
    ended = 0
    for service in system.random.sample(SERVICES, len(SERVICES)):
        ended += 3
        await wait_for_chunks(system, ended)
        system.send_signal(service, signal.SIGKILL)
    await wait_until_whole(system, start)
    evidence = await system.judge()
    assert len(evidence.runs) > 30
    assert await query(system, _OVERLAPPING) == []


@pytest.mark.parametrize("failpoint", ["before_ranges", "after_ranges", "after_close"])
async def test_a_backfiller_that_dies_repeatedly_loses_no_span(system: RunningSystem, failpoint: str) -> None:
    await system.restart_with_failpoints("backfiller", f"backfiller.{failpoint}=kill@2")
    start = await want_history(system)
    await system.wait_for_failpoint("backfiller", 2)
    system.arm("backfiller", "")
    system.send_signal("backfiller", signal.SIGKILL)
    await wait_until_whole(system, start)
    await system.judge()
    assert await query(system, _OVERLAPPING) == []
