"""The hourly counts of the run log. Triggers record each change of the log; this module adds the changes up."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

SETTLE_SECONDS: Final = 2.0
"""The interval. The counts are exact at any time, because a reader adds the run changes that are left."""


async def settle(engine: AsyncEngine) -> int:
    """Add up the run changes. Returns their number, which is 0 while another instance does this."""
    async with engine.begin() as connection:
        return int(await connection.scalar(text("SELECT settle_run_changes()")) or 0)


async def recount(engine: AsyncEngine) -> None:
    """Count the whole run log again. Its writers wait meanwhile."""
    async with engine.begin() as connection:
        await connection.execute(text("SELECT recount_runs()"))
