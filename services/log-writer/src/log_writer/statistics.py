"""The hourly counts of the run log. Triggers record each change of the log; this module adds the changes up."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from log_writer.row_by_row import in_parts
from runtime.database import is_transient

SETTLE_SECONDS: Final = 2.0
"""The pause between two summations. The counts are exact at any time, because a reader includes the run changes that
are not added up yet.
"""


_HOURS: Final = text("SELECT hour::text FROM run_changes UNION SELECT hour::text FROM run_exchange_changes")
_TABLES: Final = ("run_changes", "run_exchange_changes")
_MAKE_HELD: Final = "CREATE TEMP TABLE held_{table} ON COMMIT DROP AS SELECT * FROM {table} WITH NO DATA"
_HOLD: Final = """
WITH held AS (DELETE FROM {table} WHERE hour::text <> ALL(:hours) RETURNING *)
INSERT INTO held_{table} SELECT * FROM held
"""
_RETURN: Final = "INSERT INTO {table} SELECT * FROM held_{table}"


async def settle(engine: AsyncEngine) -> int:
    """Add up the run changes. Returns their number, which is 0 while another instance does this.

    If the changes of an hour cannot be added, for example because their sum is too large, this hour is logged and left
    out. Its changes stay, so the counts remain exact.
    """
    try:
        async with engine.begin() as connection:
            return await _settle(connection)
    except Exception as error:
        if is_transient(error):
            raise
    async with engine.connect() as connection:
        hours = (await connection.scalars(_HOURS)).all()

    async def settle_some(hours: Sequence[str]) -> int:
        async with engine.begin() as connection:
            for table in _TABLES:
                await connection.execute(text(_MAKE_HELD.format(table=table)))
                await connection.execute(text(_HOLD.format(table=table)), {"hours": list(hours)})
            settled = await _settle(connection)
            for table in _TABLES:
                await connection.execute(text(_RETURN.format(table=table)))
            return settled

    return (await in_parts(hours, settle_some, "hours whose run changes cannot be added up")).changed


async def _settle(connection: AsyncConnection) -> int:
    return int(await connection.scalar(text("SELECT settle_run_changes()")) or 0)


async def recount(engine: AsyncEngine) -> None:
    """Count the whole run log again. Writers of the log wait during the count."""
    async with engine.begin() as connection:
        await connection.execute(text("SELECT recount_runs()"))
