"""Deletes runs that are past retention, in small transactions, so that no other session waits long."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from log_writer.row_by_row import in_parts

RETENTION_SECONDS: Final = 3600.0
"""The pause between two deletions."""

BATCH_ROWS: Final = 5000
_PAUSE_SECONDS: Final = 0.1
_LOCK: Final = 7_226_501_135
"""Advisory lock: only one instance deletes at a time."""

_FIND = text("""
    SELECT id FROM job_execution_logs WHERE started_at < now() - cast(:keep AS interval)
    ORDER BY started_at LIMIT :rows OFFSET :left_out
""")
_DELETE = text("""
    DELETE FROM job_execution_logs WHERE id = ANY(ARRAY(
      SELECT id FROM job_execution_logs WHERE id = ANY(:ids) FOR UPDATE SKIP LOCKED))
""")


async def delete_expired(
    engine: AsyncEngine, keep: timedelta, on_deleted: Callable[[int], None], batch_rows: int = BATCH_ROWS
) -> None:
    """Delete runs that started more than `keep` ago by the database's clock, `batch_rows` per transaction.

    Runs that cannot be deleted are logged; other runs are deleted nevertheless.
    """

    async def delete(ids: Sequence[int]) -> int:
        async with engine.begin() as connection:
            if not await connection.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}):
                return 0
            return (await connection.execute(_DELETE, {"ids": list(ids)})).rowcount

    left_out = 0
    while True:
        async with engine.connect() as connection:
            values = {"keep": keep, "rows": batch_rows, "left_out": left_out}
            ids = (await connection.scalars(_FIND, values)).all()
        deleted, failed = await in_parts(ids, delete, "expired runs that cannot be deleted")
        left_out += failed  # the next search skips the rows that failed
        if deleted:
            on_deleted(deleted)
        if deleted + failed < batch_rows:
            return
        await asyncio.sleep(_PAUSE_SECONDS)
