"""Stores when each credential was last used."""

from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.writes.transactions import DATABASE_PROBLEMS, transaction
from runtime.logs import log

_INTERVAL: Final = timedelta(minutes=1)


async def write_last_use(
    engine: AsyncEngine, column: sa.Column[Any], key: object, previous: datetime | None, now: datetime
) -> None:
    """Set `column` to `now` in the row with the primary key `key`, at most once a minute.

    `previous` is the column's current value. If another transaction has locked the row, nothing is written. Database
    errors are logged and not raised.
    """
    if previous is not None and previous > now - _INTERVAL:
        return
    [primary_key] = column.table.primary_key
    free = sa.select(primary_key).where(primary_key == key).with_for_update(skip_locked=True)
    note = sa.update(column.table).where(primary_key == free.scalar_subquery()).values({column: now})
    try:
        async with transaction(engine) as connection:
            await connection.execute(note)
    except DATABASE_PROBLEMS as error:
        log.warning(
            "Failed to store the time of the last use of a token or session",
            action="last_use_not_written",
            table=column.table.name,
            error=repr(error),
        )
