"""Deletes runs that are past retention, in small transactions, so that no other session waits long."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

RETENTION_SECONDS: Final = 3600.0
"""The interval."""

BATCH_ROWS: Final = 5000
_PAUSE_SECONDS: Final = 0.1
_LOCK: Final = 7_226_501_135
"""Advisory lock: only one instance deletes at a time."""

_DELETE = text("""
    DELETE FROM job_execution_logs WHERE id = ANY(ARRAY(
      SELECT id FROM job_execution_logs WHERE started_at < now() - cast(:keep AS interval)
      ORDER BY started_at LIMIT :rows FOR UPDATE SKIP LOCKED))
""")


async def delete_expired(
    engine: AsyncEngine, keep: timedelta, on_deleted: Callable[[int], None], batch_rows: int = BATCH_ROWS
) -> None:
    """Delete runs that started more than `keep` ago by the database's clock, `batch_rows` per transaction."""
    while True:
        async with engine.begin() as connection:
            if not await connection.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}):
                return
            result = await connection.execute(_DELETE, {"keep": keep, "rows": batch_rows})
        on_deleted(result.rowcount)
        if result.rowcount < batch_rows:
            return
        await asyncio.sleep(_PAUSE_SECONDS)
