"""Looks up credentials in the database. The look-ups that wait at the same time share a query.

At most two queries at a time look up all credentials that wait. So any number of requests uses only two connections.
Each request waits for at most two queries, or for a few more if thousands of credentials wait.
"""

import asyncio
from collections.abc import Collection, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.writes.transactions import reading

K = TypeVar("K", bound=Hashable)

_KEYS: Final = "keys"
QUERIES_AT_ONCE: Final = 2
"""The largest number of concurrent queries for one kind of credential. If it were one, a look-up would have to wait for
most of the previous query before its own query starts.
"""
_MAX_KEYS: Final = 1000
"""Maximum number of credentials in one query."""


@dataclass
class _Batch(Generic[K]):
    """The keys of one query. More keys can be added until the query starts."""

    keys: set[K] = field(default_factory=set)
    started: bool = False


class SharedLookup(Generic[K]):
    """Finds rows by a unique key: those that `query` selects, with the column `key`."""

    def __init__(self, engine: AsyncEngine, query: sa.Select[Any], key: sa.Column[K]) -> None:
        # an array, so that the statement is the same for any number of keys
        keys = sa.bindparam(_KEYS, type_=ARRAY(key.type))
        self._query, self._key = query.where(key == sa.any_(keys)), key
        # without a transaction, which saves two round trips
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._queries = asyncio.Semaphore(QUERIES_AT_ONCE)
        self._batch: _Batch[K] = _Batch()
        self._rows_of_batch: asyncio.Task[dict[K, sa.Row[Any]]] | None = None

    async def row(self, key: K) -> sa.Row[Any] | None:
        """The row with this key, as it is now. Raises `DatabaseUnavailable`."""
        # The query starts later than this call, so its result is as new as the result of a separate query. A revocation
        # has effect at once.
        rows = self._rows_of_batch
        if rows is None or rows.done() or self._batch.started or len(self._batch.keys) == _MAX_KEYS:
            self._batch = _Batch()
            rows = asyncio.create_task(self._serve(self._batch), name="shared look-up of credentials")
            self._rows_of_batch = rows
        self._batch.keys.add(key)
        return (await asyncio.shield(rows)).get(key)  # others may wait for the same query

    async def _serve(self, batch: _Batch[K]) -> dict[K, sa.Row[Any]]:
        """Query the rows of a batch after the earlier queries. An error of the query is raised to each caller that
        waits.
        """
        async with self._queries:
            batch.started = True
            return await self._rows(batch.keys)

    async def _rows(self, keys: Collection[K]) -> dict[K, sa.Row[Any]]:
        async with reading(self._engine) as connection:
            rows = await connection.execute(self._query, {_KEYS: list(keys)})
            return {getattr(row, self._key.name): row for row in rows}
