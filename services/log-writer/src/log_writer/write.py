"""Writes run rows and schedule states to Postgres. Each batch is one transaction with a few statements, and is
idempotent.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from log_writer.runs import RunRow
from log_writer.schedule import ScheduleChanges, apply_changes
from runtime.database import driver_transaction

_COLUMNS: Final = {
    "run_id": "uuid",
    "job_name": "text",
    "job_type": "text",
    "config_id": "bigint",
    "exchange": "text",
    "symbol": "text",
    "trigger": "text",
    "scheduled_for": "timestamptz",
    "status": "text",
    "started_at": "timestamptz",
    "finished_at": "timestamptz",
    "deadline_at": "timestamptz",
    "records_collected": "bigint",
    "error_class": "text",
    "error_message": "text",
    "metadata": "text",
    "closed_by_sweep": "boolean",
}
"""The columns of `RunRow` in its order, with the types of the temporary table. Postgres casts them for the log."""

_INCOMING: Final = "CREATE TEMP TABLE IF NOT EXISTS incoming_runs ({}) ON COMMIT DELETE ROWS".format(
    ", ".join(f"{column} {kind}" for column, kind in _COLUMNS.items())
)

# The rule of `runs.py`, in SQL. `_WINS` compares two rows by several keys, the most important first. For keys where the
# smaller value wins, the two operands are swapped.
_RANK: Final = (
    "array_position(ARRAY['running', 'presumed', 'skipped', 'failed', 'success'],"
    " CASE WHEN {0}.closed_by_sweep THEN 'presumed' ELSE {0}.status END)"
)
_ENDED: Final = "coalesce({0}.finished_at, 'infinity')"
_DEADLINE: Final = "CASE {0}.status WHEN 'running' THEN {0}.deadline_at ELSE '-infinity' END"
_EVENT: Final = "({0}.metadata ->> 'event_id')::uuid"
_WINS: Final = (
    f"(({_RANK.format('excluded')}, {_ENDED.format('log')}, {_DEADLINE.format('excluded')}, {_EVENT.format('log')})"
    f" > ({_RANK.format('log')}, {_ENDED.format('excluded')}, {_DEADLINE.format('log')}, {_EVENT.format('excluded')}))"
)

_DECIDED: Final = [column for column in _COLUMNS if column not in {"run_id", "started_at", "deadline_at"}]

UPSERT_RUNS: Final = """
INSERT INTO job_execution_logs AS log (duration_seconds, {columns})
SELECT extract(epoch FROM finished_at - started_at), {casts}
FROM incoming_runs
ON CONFLICT (run_id) DO UPDATE SET
  {decided},
  started_at = least(log.started_at, excluded.started_at),
  deadline_at = greatest(log.deadline_at, excluded.deadline_at),
  duration_seconds = extract(epoch FROM
    CASE WHEN {wins} THEN excluded.finished_at ELSE log.finished_at END - least(log.started_at, excluded.started_at))
WHERE {wins}
   OR excluded.started_at < log.started_at
   OR excluded.deadline_at > coalesce(log.deadline_at, '-infinity')
""".format(
    columns=", ".join(_COLUMNS),
    casts=", ".join(
        {"records_collected": "records_collected::int", "metadata": "metadata::jsonb"}.get(column, column)
        for column in _COLUMNS
    ),
    decided=", ".join(
        f"{column} = CASE WHEN {_WINS} THEN excluded.{column} ELSE log.{column} END" for column in _DECIDED
    ),
    wins=_WINS,
)


async def write_batch(engine: AsyncEngine, runs: Sequence[RunRow], schedule: ScheduleChanges) -> None:
    """Write all or nothing. `runs` has at most one row per run, ordered by run id: see `runs.fold`."""
    async with driver_transaction(engine) as connection:
        await upsert_runs(connection, runs)
        await apply_changes(connection, schedule)


async def upsert_runs(connection: Any, rows: Sequence[RunRow]) -> None:
    """Write within the transaction of asyncpg's `connection`. COPY is several times faster than bound parameters."""
    if rows:
        await connection.execute(_INCOMING)
        records = [row[: len(_COLUMNS)] for row in rows]
        await connection.copy_records_to_table("incoming_runs", records=records)
        await connection.execute(UPSERT_RUNS)
