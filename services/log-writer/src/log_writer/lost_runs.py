"""Closes lost runs: the collector of a lost run has vanished and will not report an end.

If a row is still "running" after its deadline, log-writer may also be behind: the end may be in Kafka, unread. So a run
is closed only when all messages of its partition are written.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from aiokafka.partitioner import murmur2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.topics import RUN_EVENTS
from contracts.vocabulary import ErrorClass

_MAX_RUNS_PER_CHECK: Final = 1000

_OVERDUE = "status = 'running' AND deadline_at < now() - cast(:grace AS interval)"

_FIND = text(f"SELECT run_id, config_id FROM job_execution_logs WHERE {_OVERDUE} ORDER BY deadline_at LIMIT :most")  # noqa: S608 -- _OVERDUE is a constant

_CLOSE = text(f"""
    UPDATE job_execution_logs SET
      status = 'failed',
      error_class = '{ErrorClass.COLLECTOR_LOST.value}',
      error_message = 'Its collector (' || coalesce(metadata ->> 'collector', 'unknown') || ') did not report an end'
        || ' by ' || to_char(deadline_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')
        || ': it has probably crashed. The next run collects what this one did not.',
      finished_at = greatest(now(), started_at),
      duration_seconds = extract(epoch FROM greatest(now(), started_at) - started_at),
      closed_by_sweep = true
    WHERE id IN (
      SELECT id FROM job_execution_logs WHERE run_id = ANY(:runs) AND {_OVERDUE} FOR UPDATE SKIP LOCKED)
""")  # noqa: S608 -- constants

CaughtUp = Callable[[], Awaitable[frozenset[int]]]
"""Returns the partitions of run-events whose messages, as of the call, are all in the table."""


async def close_lost_runs(engine: AsyncEngine, caught_up: CaughtUp, grace: timedelta) -> int:
    """Close lost runs and return their number. The database's clock counts. A real end that arrives later replaces the
    presumed one.
    """
    async with engine.connect() as connection:
        overdue = (await connection.execute(_FIND, {"grace": grace, "most": _MAX_RUNS_PER_CHECK})).all()
    if not overdue:
        return 0
    partitions = await caught_up()
    lost = [run.run_id for run in overdue if partition_of(run.config_id) in partitions]
    if not lost:
        return 0
    async with engine.begin() as connection:
        return (await connection.execute(_CLOSE, {"grace": grace, "runs": lost})).rowcount


def partition_of(config_id: int) -> int:
    """The partition of a config's run events, as Kafka's default partitioner computes it."""
    return int(murmur2(str(config_id).encode()) & 0x7FFFFFFF) % RUN_EVENTS.partitions
