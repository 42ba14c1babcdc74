"""Writes candles and the ledger to Postgres. Each batch is one transaction with a few statements, and is idempotent.
The newest fetch of a candle is stored.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from candle_writer.fold import fold
from candle_writer.ledger_tables import stored_spans, write_ledger
from candle_writer.series import SeriesIds
from contracts.bounds import END_OF_INSTANTS
from contracts.candles import CandlesCollected
from runtime.database import driver_transaction
from runtime.failpoints import failpoint

Row = tuple[int, int, float, float, float, float, float, datetime, int | None, float | None, str | None]
"""(series id, open ms, open, high, low, close, volume, fetched at, trades, quote volume, source)"""

_INCOMING: Final = """
CREATE TEMP TABLE IF NOT EXISTS incoming_candles (
  series_id int, open_ms bigint, open float8, high float8, low float8, close float8, volume float8,
  fetched_at timestamptz, trades bigint, quote_volume float8, source text
) ON COMMIT DELETE ROWS
"""
# Arrays (unnest) are faster in Postgres for the smallest sets, but with arrays the driver takes three times as long.

_LOCK: Final = """
WITH locked AS MATERIALIZED (
  SELECT id, last_open, upper(verified) AS verified_until
  FROM series LEFT JOIN coverage ON coverage.series_id = series.id
  WHERE id = ANY($1::int[]) ORDER BY id FOR NO KEY UPDATE OF series
)
SELECT id, CASE WHEN verified_until IS NULL THEN '-infinity' ELSE least(verified_until, $2) END AS verified_until
FROM locked
WHERE last_open IS NOT NULL AND (verified_until IS NULL OR verified_until <= last_open)
"""
# During a rebalance, two writers may handle the same series for a moment. The second writer waits for this lock until
# the first one commits. Then it sees the stored candles, and no candle is counted twice.
# Returns the series whose newest candle is not in the ledger, because a release without the ledger stored the candle.
# During a rolling upgrade both releases store candles.

_UPSERT: Final = """
WITH incoming AS (
  SELECT *, 'epoch'::timestamptz + open_ms * interval '1 millisecond' AS open_time FROM incoming_candles
), compared AS MATERIALIZED (
  SELECT incoming.*, stored.fetched_at AS stored_fetched_at,
         stored.trades AS stored_trades, stored.quote_volume AS stored_quote_volume,
         (incoming.open, incoming.high, incoming.low, incoming.close, incoming.volume)
           IS DISTINCT FROM (stored.open, stored.high, stored.low, stored.close, stored.volume) AS moved
  -- OFFSET 0 forces a look-up by key for each row: the planner has no statistics of the temporary table.
  FROM incoming LEFT JOIN LATERAL (
    SELECT open, high, low, close, volume, trades, quote_volume,
           CASE WHEN incoming.source IS NULL AND c.source IS NOT NULL THEN '-infinity'
                WHEN incoming.source IS NOT NULL AND c.source IS NULL THEN 'infinity'
                WHEN c.fetched_at > now() + interval '1 hour' THEN '-infinity' ELSE c.fetched_at END AS fetched_at
    FROM candles AS c WHERE c.series_id = incoming.series_id AND c.open_time = incoming.open_time OFFSET 0
  ) AS stored ON true
), judged AS MATERIALIZED (
  SELECT series_id, open_time, open, high, low, close, volume, fetched_at, source, stored_fetched_at,
         CASE WHEN moved THEN trades ELSE coalesce(trades, stored_trades) END AS trades,
         CASE WHEN moved THEN quote_volume ELSE coalesce(quote_volume, stored_quote_volume) END AS quote_volume,
         moved OR trades <> stored_trades IS TRUE OR quote_volume <> stored_quote_volume IS TRUE AS differs,
         (trades IS NOT NULL AND stored_trades IS NULL)
           OR (quote_volume IS NOT NULL AND stored_quote_volume IS NULL) AS completes
  FROM compared
), upserted AS (
  INSERT INTO candles AS stored
    (series_id, open_time, open, high, low, close, volume, fetched_at, trades, quote_volume, source)
  SELECT series_id, open_time, open, high, low, close, volume, fetched_at, trades, quote_volume, source FROM judged
  WHERE stored_fetched_at IS NULL OR fetched_at > stored_fetched_at
    OR (fetched_at = stored_fetched_at AND (differs OR completes))
  ON CONFLICT (series_id, open_time) DO UPDATE SET
    open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,
    fetched_at = excluded.fetched_at, trades = excluded.trades, quote_volume = excluded.quote_volume,
    source = excluded.source
  WHERE CASE WHEN (excluded.source IS NULL) = (stored.source IS NULL)
    THEN excluded.fetched_at >= stored.fetched_at OR stored.fetched_at > now() + interval '1 hour'
    ELSE excluded.source IS NULL END
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
# The exchange's own candle (source null) replaces a candle from trades, and never the reverse. The times of the fetches
# do not matter.
#
# A stored fetch time that is more than an hour ahead comes from a wrong clock: any fetch replaces it.
#
# A newer fetch of the same prices and volume without trades or quote volume keeps the known ones: a collector of an
# earlier release does not send them. If the prices or the volume differ, the known trades and quote volume belong to
# another candle. So the new values replace them, even if they are null. Values that were not known before do not count
# as a revision.
#
# An unchanged candle gets the newer `fetched_at`. Otherwise a late event with a fetch time between the two would count
# as the newest.


class Outcome(NamedTuple):
    """Numbers of a batch's candles by outcome. A candle that occurs several times in the batch counts once."""

    new: int = 0
    revised: int = 0
    """Candles that were stored before with other values."""
    unchanged: int = 0
    stale: int = 0
    """Fetches that are older than the stored candle, and are therefore not written."""


async def write_candles(engine: AsyncEngine, series: SeriesIds, events: Iterable[CandlesCollected]) -> Outcome:
    """Write the whole batch, or nothing of it. New series stay even if the write fails."""
    batches = fold(events)
    try:
        ids = await series.of(batches.keys())
        by_id = sorted((ids[key], batch) for key, batch in batches.items())
        rows = [
            (series_id, *candle, at, *activity, source)
            for series_id, batch in by_id
            for candle, at, activity, source in batch.candles
        ]
        async with driver_transaction(engine) as connection:
            behind = await connection.fetch(_LOCK, [series_id for series_id, _ in by_id], END_OF_INSTANTS)
            stored = await stored_spans(connection, behind)
            outcome = await _upsert(connection, rows)
            failpoint("candle_writer.before_ledger")
            claims = {series_id: batch.claims.adding(stored.get(series_id, ())) for series_id, batch in by_id}
            await write_ledger(connection, claims)
            return outcome
    except Exception:
        series.forget()
        raise


async def _upsert(connection: Any, rows: Sequence[Row]) -> Outcome:
    """Write unique rows, which are ordered by (series id, open time) so that concurrent writers do not deadlock."""
    await connection.execute(_INCOMING)
    await connection.copy_records_to_table("incoming_candles", records=rows)
    return Outcome(*await connection.fetchrow(_UPSERT))
