"""The run log's counts by the hour. Triggers note each change of the log; here the notes are added up."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

SETTLE_SECONDS: Final = 2.0
"""How often. The counts are exact in between too: whoever reads them adds the notes that are left."""


async def settle(engine: AsyncEngine) -> int:
    """How many notes were added up; none while another instance is at it."""
    async with engine.begin() as connection:
        return int(await connection.scalar(text("SELECT settle_run_changes()")) or 0)


async def recount(engine: AsyncEngine) -> None:
    """From the log itself, whose writers wait meanwhile."""
    async with engine.begin() as connection:
        await connection.execute(text("SELECT recount_runs()"))
