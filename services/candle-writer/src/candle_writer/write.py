"""Writes candles to Postgres: as sets, one transaction per batch, idempotent. The newest fetch wins."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from candle_writer.fold import fold
from candle_writer.series import SeriesIds
from contracts.candles import CandlesCollected
from runtime.database import driver_transaction

Row = tuple[int, int, float, float, float, float, float, datetime]
"""(series id, open ms, open, high, low, close, volume, fetched at)"""

_INCOMING: Final = """
CREATE TEMP TABLE IF NOT EXISTS incoming_candles (
  series_id int, open_ms bigint, open float8, high float8, low float8, close float8, volume float8,
  fetched_at timestamptz
) ON COMMIT DELETE ROWS
"""
# Arrays (unnest) are faster in Postgres for the smallest sets, but with arrays the driver takes three times as long.

_LOCK: Final = "SELECT FROM series WHERE id = ANY($1::int[]) ORDER BY id FOR NO KEY UPDATE"
# During a rebalance, two writers may handle the same series for a moment. The second writer waits for this lock until
# the first one commits. Then it sees the stored candles, and no candle is counted twice.

_UPSERT: Final = """
WITH incoming AS (
  SELECT *, 'epoch'::timestamptz + open_ms * interval '1 millisecond' AS open_time FROM incoming_candles
), judged AS MATERIALIZED (
  SELECT incoming.*, stored.fetched_at AS stored_fetched_at,
         (incoming.open, incoming.high, incoming.low, incoming.close, incoming.volume)
           IS DISTINCT FROM (stored.open, stored.high, stored.low, stored.close, stored.volume) AS differs
  -- OFFSET 0 forces a look-up by key for each row: the planner has no statistics of the temporary table.
  FROM incoming LEFT JOIN LATERAL (
    SELECT * FROM candles AS c WHERE c.series_id = incoming.series_id AND c.open_time = incoming.open_time OFFSET 0
  ) AS stored ON true
), upserted AS (
  INSERT INTO candles AS stored (series_id, open_time, open, high, low, close, volume, fetched_at)
  SELECT series_id, open_time, open, high, low, close, volume, fetched_at FROM judged
  WHERE stored_fetched_at IS NULL OR fetched_at > stored_fetched_at OR (fetched_at = stored_fetched_at AND differs)
  ON CONFLICT (series_id, open_time) DO UPDATE SET
    open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,
    fetched_at = excluded.fetched_at
  WHERE excluded.fetched_at >= stored.fetched_at
), extended AS (
  UPDATE series SET
    candle_count = candle_count + more.candles,
    first_open = least(series.first_open, more.first_open),
    last_open = greatest(series.last_open, more.last_open)
  FROM (
    SELECT series_id, count(*) AS candles, min(open_time) AS first_open, max(open_time) AS last_open
    FROM judged WHERE stored_fetched_at IS NULL GROUP BY series_id
  ) AS more
  WHERE series.id = more.series_id
)
SELECT count(*) FILTER (WHERE stored_fetched_at IS NULL) AS new,
       count(*) FILTER (WHERE fetched_at >= stored_fetched_at AND differs) AS revised,
       count(*) FILTER (WHERE fetched_at >= stored_fetched_at AND NOT differs) AS unchanged,
       count(*) FILTER (WHERE fetched_at < stored_fetched_at) AS stale
FROM judged
"""
# An unchanged candle gets the newer `fetched_at`. Otherwise a late event with a fetch time between the two would count
# as the newest.


class Outcome(NamedTuple):
    """Numbers of a batch's candles by outcome. A candle that occurs several times in the batch counts once."""

    new: int = 0
    revised: int = 0
    """Stored before, with other values."""
    unchanged: int = 0
    stale: int = 0
    """Older than the stored candle, and therefore not written."""


async def write_candles(engine: AsyncEngine, series: SeriesIds, events: Iterable[CandlesCollected]) -> Outcome:
    """Write all or nothing. New series stay, even if the write fails."""
    candles = fold(events)
    try:
        ids = await series.of(candles.keys())
        by_id = sorted((ids[key], fetched) for key, fetched in candles.items())
        rows = [(series_id, *candle, at) for series_id, fetched in by_id for candle, at in fetched]
        async with driver_transaction(engine) as connection:
            return await upsert(connection, rows)
    except Exception:
        series.forget()
        raise


async def upsert(connection: Any, rows: Sequence[Row]) -> Outcome:
    """Write unique rows, which are ordered by (series id, open time) so that concurrent writers do not deadlock.
    `connection` is asyncpg's, in a transaction.
    """
    await connection.execute(_LOCK, sorted({row[0] for row in rows}))
    await connection.execute(_INCOMING)
    await connection.copy_records_to_table("incoming_candles", records=rows)
    return Outcome(*await connection.fetchrow(_UPSERT))
