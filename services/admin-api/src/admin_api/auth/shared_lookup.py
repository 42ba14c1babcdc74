"""Looks up credentials in the database. The look-ups that wait at the same time share a query.

One query at a time looks up all credentials that wait. So any number of requests uses one connection, and each waits
for two queries at most, or a few more if thousands of credentials wait.
"""

import asyncio
from collections.abc import Collection, Hashable
from itertools import islice
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.writes.transactions import reading

K = TypeVar("K", bound=Hashable)

_MAX_KEYS: Final = 1000
"""Maximum number of credentials in one query."""


class SharedLookup(Generic[K]):
    """Finds rows by a unique key: those that `query` selects, with the column `key`."""

    def __init__(self, engine: AsyncEngine, query: sa.Select[Any], key: sa.Column[K]) -> None:
        self._engine, self._query, self._key = engine, query, key
        self._waiting: dict[K, asyncio.Future[sa.Row[Any] | None]] = {}
        self._serving: asyncio.Task[None] | None = None

    async def row(self, key: K) -> sa.Row[Any] | None:
        """The row with this key, as it is now. Raises `DatabaseUnavailable`."""
        # The query starts later, so its result is as new as that of an own query. A revocation has effect at once.
        found = self._waiting.setdefault(key, asyncio.get_running_loop().create_future())
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve(), name="shared look-up of credentials")
        return await asyncio.shield(found)  # others may wait for the same key

    async def _serve(self) -> None:
        try:
            while self._waiting:
                keys = list(islice(self._waiting, _MAX_KEYS))
                futures = {key: self._waiting.pop(key) for key in keys}
                try:
                    rows = await self._rows(keys)
                except Exception as error:  # noqa: BLE001 -- each caller that waits raises it
                    for future in futures.values():
                        future.set_exception(error)
                        future.exception()  # marks it as retrieved, because all callers may have been cancelled
                else:
                    for key, future in futures.items():
                        future.set_result(rows.get(key))
        finally:
            self._serving = None

    async def _rows(self, keys: Collection[K]) -> dict[K, sa.Row[Any]]:
        async with reading(self._engine) as connection:
            rows = await connection.execute(self._query.where(self._key.in_(keys)))
            return {getattr(row, self._key.name): row for row in rows}
