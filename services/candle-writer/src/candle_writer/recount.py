"""Finds series whose daily counts differ from their ledger, and counts them again.

Two kinds of series need this: those that an earlier release stored, and those that an instance of the earlier release
changes during a rolling upgrade. Each transaction locks only a few series, and skips series that a batch has locked.
"""

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from candle_writer.day_tables import ABSENT, ALL_TIME, ANSWERED, MISSING, write_days
from contracts.bounds import END_OF_INSTANTS, FIRST_INSTANT
from runtime.database import driver_transaction

RECOUNT_SECONDS: Final = 600.0
"""The pause between two searches. A search reads the spans of all series, in pages."""

_PAGE: Final = 2_000
_SERIES_PER_TRANSACTION: Final = 20

_OUTDATED: Final = f"""
SELECT series.id, (verified IS NOT NULL OR absent.first_absence IS NOT NULL OR counts.series_id IS NOT NULL)
         AND counts.missing IS DISTINCT FROM {MISSING} AS is_outdated
FROM series LEFT JOIN coverage ON coverage.series_id = series.id
  LEFT JOIN series_counts AS counts ON counts.series_id = series.id,
  LATERAL (SELECT verified * tstzmultirange(tstzrange($1, $2)) AS known) AS clipped,
  LATERAL ({ABSENT}
  ) AS absent
WHERE series.id > $4 ORDER BY series.id LIMIT $5
"""  # noqa: S608 -- constants
_LOCK: Final = "SELECT id FROM series WHERE id = ANY($1::int[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"


async def recount_outdated(engine: AsyncEngine, counted: Callable[[float], object]) -> None:
    """Count each outdated series again. `counted` gets the number of series after each transaction.

    A series that a batch has locked is left for the next time.
    """
    last = 0
    while True:
        async with driver_transaction(engine) as connection:
            rows = await connection.fetch(_OUTDATED, FIRST_INSTANT, END_OF_INSTANTS, ANSWERED, last, _PAGE)
        outdated = [row["id"] for row in rows if row["is_outdated"]]
        for start in range(0, len(outdated), _SERIES_PER_TRANSACTION):
            counted(await _recount(engine, outdated[start : start + _SERIES_PER_TRANSACTION]))
        if len(rows) < _PAGE:
            return
        last = rows[-1]["id"]


async def _recount(engine: AsyncEngine, series: Sequence[int]) -> int:
    async with driver_transaction(engine) as connection:
        locked = [row["id"] for row in await connection.fetch(_LOCK, series)]
        if locked:
            await write_days(connection, dict.fromkeys(locked, ALL_TIME))
    return len(locked)
