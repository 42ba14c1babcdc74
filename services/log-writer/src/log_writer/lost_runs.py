"""Closes lost runs: the collector of a lost run has vanished and will not report an end.

If a row is still "running" after its deadline, the end of the run may also be an unread message in Kafka, because
log-writer may be behind. So a run is closed only when all messages of its partition are written.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from aiokafka.partitioner import murmur2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.topics import RUN_EVENTS
from contracts.vocabulary import ErrorClass
from log_writer.row_by_row import in_parts

_RUNS_AT_ONCE: Final = 1000

_OVERDUE = "status = 'running' AND deadline_at < now() - cast(:grace AS interval)"

_FIND = text(f"""
    SELECT run_id, config_id FROM job_execution_logs WHERE {_OVERDUE} AND run_id <> ALL(:seen)
    ORDER BY deadline_at LIMIT :most
""")  # noqa: S608 -- _OVERDUE is a constant

_CLOSE = text(f"""
    UPDATE job_execution_logs SET
      status = 'failed',
      error_class = '{ErrorClass.COLLECTOR_LOST.value}',
      error_message = 'Its collector (' || coalesce(metadata ->> 'collector', 'unknown') || ') did not report an end'
        || ' by ' || to_char(deadline_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')
        || ': it has probably crashed. The next run collects what this one did not.',
      finished_at = greatest(now(), started_at),
      duration_seconds = CASE WHEN isfinite(started_at)
        THEN extract(epoch FROM greatest(now(), started_at) - started_at) END,
      closed_by_sweep = true
    WHERE id IN (
      SELECT id FROM job_execution_logs WHERE run_id = ANY(:runs) AND {_OVERDUE} FOR UPDATE SKIP LOCKED)
""")  # noqa: S608 -- constants

CaughtUp = Callable[[], Awaitable[frozenset[int]]]
"""Returns the partitions of run-events whose messages, as of the call, are all in the table."""


async def close_lost_runs(engine: AsyncEngine, caught_up: CaughtUp, grace: timedelta) -> int:
    """Close lost runs and return their number. The current time is the time of the database. If the real end arrives
    later, it replaces the presumed one. Runs that cannot be closed are logged, and do not prevent the closing of other
    runs.
    """

    async def close(runs: Sequence[UUID]) -> int:
        async with engine.begin() as connection:
            return (await connection.execute(_CLOSE, {"grace": grace, "runs": list(runs)})).rowcount

    closed, seen = 0, list[UUID]()
    partitions: frozenset[int] | None = None
    while True:
        async with engine.connect() as connection:
            values = {"grace": grace, "most": _RUNS_AT_ONCE, "seen": seen}
            overdue = (await connection.execute(_FIND, values)).all()
        if not overdue:
            return closed
        partitions = await caught_up() if partitions is None else partitions
        lost = [run.run_id for run in overdue if partition_of(run.config_id) in partitions]
        closed += (await in_parts(lost, close, "lost runs that cannot be closed")).changed
        if len(overdue) < _RUNS_AT_ONCE:
            return closed
        seen += [run.run_id for run in overdue]


def partition_of(config_id: int) -> int:
    """The partition of a config's run events, as Kafka's default partitioner computes it."""
    return int(murmur2(str(config_id).encode()) & 0x7FFFFFFF) % RUN_EVENTS.partitions
