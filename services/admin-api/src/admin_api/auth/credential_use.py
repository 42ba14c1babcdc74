"""Stores the time at which each credential was last used."""

from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.writes.transactions import DATABASE_PROBLEMS, transaction
from runtime.logs import log

_INTERVAL: Final = timedelta(minutes=1)


class LastUse:
    """Writes `column`, the time of the last use, at most once a minute for each row.

    Only one request at a time writes a row. Otherwise many concurrent requests with one credential would take all
    connections that authentication needs.
    """

    def __init__(self, engine: AsyncEngine, column: sa.Column[Any]) -> None:
        self._engine, self._column = engine, column
        self._writing: set[Hashable] = set()

    async def write(self, key: Hashable, previous: datetime | None, now: datetime) -> None:
        """Set the column to `now` in the row with the primary key `key`. `previous` is its value.

        If another request or transaction writes the row, nothing is written. Database errors are logged and not raised.
        """
        if key in self._writing or (previous is not None and previous > now - _INTERVAL):
            return
        self._writing.add(key)
        try:
            async with transaction(self._engine) as connection:
                await connection.execute(self._statement(key, now))
        except DATABASE_PROBLEMS as error:
            log.warning(
                "Failed to store the time of the last use of a token or session",
                action="last_use_not_written",
                table=self._column.table.name,
                error=repr(error),
            )
        finally:
            self._writing.discard(key)

    def _statement(self, key: Hashable, now: datetime) -> sa.Update:
        table = self._column.table
        [primary_key] = table.primary_key
        free = sa.select(primary_key).where(primary_key == key).with_for_update(skip_locked=True)
        return sa.update(table).where(primary_key == free.scalar_subquery()).values({self._column: now})
