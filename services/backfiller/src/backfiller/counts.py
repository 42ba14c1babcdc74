"""Counts the chunks that have not ended, for gauges. Each instance counts the chunks of all instances."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

COUNT_SECONDS: Final = 15.0
"""The pause between two counts."""

_COUNT: Final = text("""
    SELECT exchange, state, count(*) AS chunks,
           extract(epoch FROM sum(ends_at - starts_at))::float8 AS open_seconds,
           extract(epoch FROM now() - min(created_at))::float8 AS oldest_seconds
    FROM backfill_chunks WHERE state IN ('waiting', 'requested', 'failed') GROUP BY 1, 2
""")


class ChunkCounts(NamedTuple):
    """Numbers by exchange."""

    chunks: Mapping[tuple[str, str], int]
    """The numbers of chunks by exchange and state."""
    open_seconds: Mapping[str, float]
    oldest_seconds: Mapping[str, float]


async def count_chunks(engine: AsyncEngine) -> ChunkCounts:
    async with engine.connect() as connection:
        rows = (await connection.execute(_COUNT)).all()
    chunks, open_seconds, oldest = {}, dict[str, float](), dict[str, float]()
    for row in rows:
        chunks[row.exchange, row.state] = row.chunks
        open_seconds[row.exchange] = open_seconds.get(row.exchange, 0.0) + row.open_seconds
        oldest[row.exchange] = max(oldest.get(row.exchange, 0.0), row.oldest_seconds)
    return ChunkCounts(chunks, open_seconds, oldest)
