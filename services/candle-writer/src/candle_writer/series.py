"""The ids of series, cached in memory."""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from candle_writer.fold import SeriesKey
from runtime.database import driver_transaction

_FIND: Final = """
SELECT id, exchange, symbol, timeframe
FROM series JOIN unnest($1::text[], $2::text[], $3::text[]) AS wanted (exchange, symbol, timeframe)
USING (exchange, symbol, timeframe)
"""

_CREATE: Final = """
INSERT INTO series (exchange, symbol, timeframe)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
ON CONFLICT (exchange, symbol, timeframe) DO NOTHING
"""


class SeriesIds:
    """Finds series, creates new ones, and caches their ids. Series are never deleted or renumbered during normal
    operation. A restored backup may renumber them, so call `forget` after each failed write.
    """

    def __init__(self, engine: AsyncEngine, limit: int = 100_000) -> None:
        self._engine, self._limit = engine, limit
        self._ids: dict[SeriesKey, int] = {}

    async def of(self, keys: Collection[SeriesKey]) -> dict[SeriesKey, int]:
        """The id of each series. New ones are committed here, so the cache is valid also after a failed write."""
        known = {key: self._ids[key] for key in keys if key in self._ids}
        missing = [key for key in keys if key not in known]
        found = await self._find_or_create(missing) if missing else {}
        if len(self._ids) + len(found) > self._limit:
            self._ids.clear()
        self._ids |= found
        return known | found

    def forget(self) -> None:
        """Clear the cache."""
        self._ids.clear()

    async def _find_or_create(self, keys: list[SeriesKey]) -> dict[SeriesKey, int]:
        async with driver_transaction(self._engine) as connection:
            found = await _find(connection, keys)
            # Insert only new series: ON CONFLICT consumes a number of the sequence for every existing row.
            if new := sorted(set(keys) - set(found)):
                await connection.execute(_CREATE, *zip(*new, strict=True))
                found |= await _find(connection, new)
        return found


async def _find(connection: Any, keys: Collection[SeriesKey]) -> dict[SeriesKey, int]:
    rows = await connection.fetch(_FIND, *zip(*keys, strict=True))
    return {SeriesKey(row["exchange"], row["symbol"], row["timeframe"]): row["id"] for row in rows}
