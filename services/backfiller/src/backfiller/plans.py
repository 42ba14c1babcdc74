"""Plans series: compares the demanded ranges with the ledger and with the existing chunks, and creates chunks.

One transaction plans many series. It locks their rows in `series_plans`, so two instances never plan the same series at
the same time, and no span gets two chunks.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from backfiller.chunks import Chunk
from backfiller.planning import Demand, NewChunk, PlanPolicy, Series, describe, plan, unwanted
from backfiller.tables import CHUNK_COLUMNS, database_now, to_chunk
from contracts.coverage import to_instant, to_milliseconds
from contracts.pages import EARLIEST
from contracts.timeframes import shortest_length
from contracts.trade_pages import RATE_CANDLES
from runtime.database import driver_transaction
from runtime.logs import log
from store.missing_time import VERIFIED_SPANS, is_final, missing_time, target_bounds

SERIES_AT_ONCE: Final = 500
_HOLES_AT_ONCE: Final = 200
"""The largest number of holes of a series and demand that one plan reads, the newest first. Holes that are shorter than
a candle are left out: no chunk is created for them, so they would block the older holes forever.
"""

_REGISTER: Final = """
INSERT INTO series_plans (series_id, next_plan_at)
SELECT series.id, $1 FROM series WHERE NOT EXISTS (SELECT FROM series_plans WHERE series_id = series.id) AND (
  EXISTS (SELECT FROM config_timeframes AS wanted WHERE wanted.exchange = series.exchange
          AND wanted.symbol = series.symbol AND wanted.timeframe = series.timeframe)
  OR EXISTS (SELECT FROM backfill_series AS wanted WHERE wanted.exchange = series.exchange
             AND wanted.symbol = series.symbol AND wanted.timeframe = series.timeframe))
ON CONFLICT (series_id) DO NOTHING
"""

# Only changes of the last hour are read, because older ones were planned at the usual interval. The locks are taken in
# order.
_WAKE_CHANGED: Final = """
UPDATE series_plans SET next_plan_at = $1 WHERE next_plan_at > $1 AND series_id IN (
  SELECT series_id FROM series_plans WHERE next_plan_at > $1 AND series_id IN (
    SELECT series.id FROM data_collection_configs AS config
    JOIN config_timeframes AS wanted ON wanted.config_id = config.id
    JOIN series ON (series.exchange, series.symbol, series.timeframe)
      = (wanted.exchange, wanted.symbol, wanted.timeframe)
    JOIN series_plans AS done ON done.series_id = series.id
    WHERE config.updated_at > $1 - interval '1 hour' AND config.updated_at > done.planned_at
    UNION
    SELECT series.id FROM backfills
    JOIN backfill_series AS wanted ON wanted.backfill_id = backfills.id
    JOIN series ON (series.exchange, series.symbol, series.timeframe)
      = (wanted.exchange, wanted.symbol, wanted.timeframe)
    JOIN series_plans AS done ON done.series_id = series.id
    WHERE backfills.updated_at > $1 - interval '1 hour' AND backfills.updated_at > done.planned_at
  ) ORDER BY series_id FOR UPDATE SKIP LOCKED)
"""

_LOCK_DUE: Final = """
SELECT series_id FROM series_plans WHERE next_plan_at <= $1 ORDER BY next_plan_at LIMIT $2 FOR UPDATE SKIP LOCKED
"""

_MARK_PLANNED: Final = "UPDATE series_plans SET planned_at = $2, next_plan_at = $3 WHERE series_id = ANY($1::int[])"

# Chunks whose span was verified by other runs in the meantime.
_CLOSE_VERIFIED: Final = """
UPDATE backfill_chunks SET state = 'verified', ended_at = $2, error_class = NULL, reason = NULL WHERE id IN (
  SELECT chunk.id FROM backfill_chunks AS chunk JOIN coverage USING (series_id)
  WHERE series_id = ANY($1::int[]) AND state IN ('waiting', 'failed') AND claimed_until IS NULL
    AND purpose <> 'reread' AND verified @> tstzrange(starts_at, ends_at)
  FOR UPDATE OF chunk SKIP LOCKED)
"""

# Chunks whose span has got a final absence in the meantime, such as all time before a listing. If the exchange no
# longer has candles, they may be built from trades.
_CLOSE_CLASSIFIED: Final = f"""
UPDATE backfill_chunks SET state = 'classified', ended_at = $2, error_class = NULL,
  reason = 'Another run has found the reason of the absence.' WHERE id IN (
  SELECT chunk.id FROM backfill_chunks AS chunk
  JOIN absences ON absences.series_id = chunk.series_id AND absences.starts_at <= chunk.starts_at
    AND absences.ends_at >= chunk.ends_at AND {is_final(now="$2", from_trades="(purpose = 'trades')")}
  WHERE chunk.series_id = ANY($1::int[]) AND state IN ('waiting', 'failed') AND claimed_until IS NULL
    AND purpose <> 'reread'
  FOR UPDATE OF chunk SKIP LOCKED)
"""  # noqa: S608 -- constants

# A waiting chunk owns its span, so a new backfill gets no chunk for it. The person who ordered the backfill expects a
# request now, not after the pause of the last attempt. This happens once per backfill, because the next attempt has a
# later `requested_at`.
_HASTEN: Final = """
UPDATE backfill_chunks SET next_attempt_at = $2 WHERE id IN (
  SELECT chunk.id FROM backfill_chunks AS chunk JOIN series ON series.id = chunk.series_id
  JOIN backfill_series AS wanted ON (wanted.exchange, wanted.symbol, wanted.timeframe)
    = (series.exchange, series.symbol, series.timeframe)
  JOIN backfills AS backfill ON backfill.id = wanted.backfill_id AND backfill.state = 'active'
    AND (backfill.starts_at IS NULL OR backfill.starts_at < chunk.ends_at) AND backfill.ends_at > chunk.starts_at
    AND backfill.created_at > chunk.requested_at
  WHERE chunk.series_id = ANY($1::int[]) AND chunk.state IN ('waiting', 'failed') AND chunk.claimed_until IS NULL
    AND chunk.next_attempt_at > $2
  FOR UPDATE OF chunk SKIP LOCKED)
"""

_TIMEFRAMES: Final = "SELECT DISTINCT timeframe FROM series WHERE id = ANY($1::int[])"

_TARGET: Final = target_bounds("backfill.starts_at", "backfill.ends_at", verified="verified", now="$2")
_MISSING: Final = missing_time(
    "tstzrange(target_start, target_end)",
    series_id="demands.series_id",
    verified="verified",
    reread="reread",
    from_trades="from_trades",
    backfill_id="demands.backfill_id",
    now="$2",
)

DEMANDS: Final = rf"""
WITH planned AS (
  SELECT series.id AS series_id, exchange, symbol, timeframe, shortest, {VERIFIED_SPANS} AS verified,
         coalesce((SELECT range_agg(tstzrange(starts_at, ends_at)) FROM backfill_chunks AS chunk
                   WHERE chunk.series_id = series.id AND state IN ('waiting', 'requested', 'failed')), '{{}}') AS open
  FROM series JOIN unnest($6::text[], $7::interval[]) AS lengths (timeframe, shortest) USING (timeframe)
  LEFT JOIN coverage ON coverage.series_id = series.id WHERE series.id = ANY($1::int[])
), demands AS (
  SELECT planned.*, config.id AS config_id, NULL::bigint AS backfill_id, true AS active, false AS reread,
         false AS from_trades,
         CASE WHEN start_date = 'listing' THEN $3
              WHEN start_date ~ '^[12]\d{{3}}-(0[1-9]|1[0-2])-\d{{2}}$' THEN greatest($3,
                (substr(start_date, 1, 8) || '01')::timestamp AT TIME ZONE 'UTC'
                + (substr(start_date, 9)::int - 1) * interval '1 day')
              ELSE lower(verified) END AS target_start,
         upper(verified) AS target_end
  FROM planned JOIN config_timeframes USING (exchange, symbol, timeframe)
  JOIN data_collection_configs AS config ON config.id = config_id AND config.enabled
  UNION ALL
  SELECT planned.*, wanted.config_id, backfill.id, backfill.state = 'active', mode = 'all', source = 'trades',
         {_TARGET.start}, {_TARGET.end}
  FROM planned JOIN backfill_series AS wanted USING (exchange, symbol, timeframe)
  JOIN backfills AS backfill ON backfill.id = backfill_id AND backfill.state <> 'cancelled'
), missing AS (
  SELECT *, {_MISSING} - open AS spans FROM demands WHERE target_start < target_end
)
SELECT series_id, exchange, symbol, timeframe, config_id, backfill_id, active, reread, from_trades, target_start,
       target_end, lower(verified) AS verified_from, holes.starts, holes.ends
FROM missing CROSS JOIN LATERAL (
  SELECT array_agg(lower(hole)) AS starts, array_agg(upper(hole)) AS ends
  FROM (SELECT hole FROM unnest(spans) AS hole
        WHERE (reread OR upper(hole) <= $4) AND upper(hole) - lower(hole) >= shortest
        ORDER BY hole DESC LIMIT $5) AS newest
) AS holes
ORDER BY series_id, backfill_id NULLS FIRST
"""  # noqa: S608 -- constants

_TRADE_RATES: Final = """
SELECT series_id, (SELECT avg(trades) FROM (
  SELECT trades FROM candles WHERE candles.series_id = wanted.series_id ORDER BY open_time DESC LIMIT $2
) AS newest) AS trades
FROM unnest($1::int[]) AS wanted (series_id)
"""

_OPEN_CHUNKS: Final = f"""
SELECT {CHUNK_COLUMNS} FROM backfill_chunks AS chunk JOIN series ON series.id = chunk.series_id
WHERE chunk.series_id = ANY($1::int[]) AND chunk.state IN ('waiting', 'requested', 'failed')
"""  # noqa: S608 -- a constant

_CANCEL: Final = """
UPDATE backfill_chunks AS chunk SET state = 'cancelled', ended_at = $3, reason = cancelled.reason
FROM unnest($1::bigint[], $2::text[]) AS cancelled (id, reason)
WHERE chunk.id = cancelled.id AND chunk.id IN (
  SELECT id FROM backfill_chunks WHERE id = ANY($1::bigint[]) AND state IN ('waiting', 'failed')
    AND claimed_until IS NULL FOR UPDATE SKIP LOCKED)
"""

_CREATE: Final = """
INSERT INTO backfill_chunks
  (series_id, exchange, config_id, backfill_id, purpose, starts_at, ends_at, loss_at, next_attempt_at)
SELECT *, $9::timestamptz FROM unnest(
  $1::int[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::timestamptz[], $7::timestamptz[],
  $8::timestamptz[])
"""


class Planned(NamedTuple):
    """The numbers of one transaction."""

    series: int = 0
    created: int = 0
    cancelled: int = 0


class PlanTimes(NamedTuple):
    """When series are planned, and which holes are left to the live runs."""

    interval: timedelta
    hole_min_age: timedelta


async def register_series(engine: AsyncEngine) -> None:
    """Add new series. Series whose config or backfill has changed are planned at the next turn."""
    async with driver_transaction(engine) as connection:
        now = await database_now(connection)
        await connection.execute(_REGISTER, now)
        await connection.execute(_WAKE_CHANGED, now)


async def plan_due_series(engine: AsyncEngine, policy: PlanPolicy, times: PlanTimes) -> Planned:
    """Plan up to `SERIES_AT_ONCE` series that are due. Other instances skip them meanwhile."""
    async with driver_transaction(engine) as connection:
        now = await database_now(connection)
        ids = [row["series_id"] for row in await connection.fetch(_LOCK_DUE, now, SERIES_AT_ONCE)]
        if not ids:
            return Planned()
        await connection.execute(_CLOSE_VERIFIED, ids, now)
        await connection.execute(_CLOSE_CLASSIFIED, ids, now)
        await connection.execute(_HASTEN, ids, now)
        demands = await read_demands(connection, ids, now, times.hole_min_age)
        open_chunks = await _open_chunks(connection, ids)
        created: list[tuple[Series, NewChunk]] = []
        cancelled: list[tuple[Chunk, str]] = []
        for series_id in ids:
            wanted, chunks = demands.get(series_id, []), open_chunks.get(series_id, [])
            cancelled += unwanted([each for _, each in wanted], chunks)
            created += _planned(wanted, chunks, to_milliseconds(now), policy)
        await _cancel(connection, cancelled, now)
        await _create(connection, created, now)
        await connection.execute(_MARK_PLANNED, ids, now, now + times.interval)
        return Planned(len(ids), len(created), len(cancelled))


def _planned(
    wanted: Sequence[tuple[Series, Demand]], chunks: Sequence[Chunk], now: int, policy: PlanPolicy
) -> list[tuple[Series, NewChunk]]:
    """The new chunks of one series. If a series cannot be planned, this is logged, and the other series are planned
    nevertheless.
    """
    if not wanted:
        return []
    series = wanted[0][0]
    try:
        return [(series, each) for each in plan(series, [demand for _, demand in wanted], chunks, now, policy)]
    except (ValueError, OverflowError) as error:
        log.warning(
            "A series cannot be planned, so its holes stay open",
            action="plan_impossible",
            series_id=series.id,
            exchange=series.exchange,
            symbol=series.symbol,
            timeframe=series.timeframe,
            error=repr(error),
        )
        return []


async def read_demands(
    connection: Any, ids: list[int], now: datetime, hole_min_age: timedelta
) -> Mapping[int, list[tuple[Series, Demand]]]:
    """The demands of these series with their missing time, by series id. Holes that end later than `hole_min_age` ago
    are left to the live runs.
    """
    timeframes = [row["timeframe"] for row in await connection.fetch(_TIMEFRAMES, ids)]
    lengths = [timedelta(milliseconds=shortest_length(each)) for each in timeframes]
    values = (now, EARLIEST, now - hole_min_age, _HOLES_AT_ONCE, timeframes, lengths)
    rows = await connection.fetch(DEMANDS, ids, *values)
    rates = await _trade_rates(connection, {row["series_id"] for row in rows if row["from_trades"]})
    demands: dict[int, list[tuple[Series, Demand]]] = defaultdict(list)
    for row in rows:
        series = describe(row["series_id"], row["exchange"], row["symbol"], row["timeframe"])
        holes = zip(row["starts"] or (), row["ends"] or (), strict=True)
        demand = Demand(
            config_id=row["config_id"],
            backfill_id=row["backfill_id"],
            active=row["active"],
            reread=row["reread"],
            target=(to_milliseconds(row["target_start"]), to_milliseconds(row["target_end"])),
            missing=tuple(sorted((to_milliseconds(start), to_milliseconds(end)) for start, end in holes)),
            verified_from=None if row["verified_from"] is None else to_milliseconds(row["verified_from"]),
            from_trades=row["from_trades"],
            trades_per_candle=rates.get(row["series_id"]),
        )
        demands[series.id].append((series, demand))
    return demands


async def _trade_rates(connection: Any, ids: Collection[int]) -> Mapping[int, float]:
    """The mean number of trades per candle, by series id. Series without any known number are left out."""
    rows = await connection.fetch(_TRADE_RATES, sorted(ids), RATE_CANDLES) if ids else []
    return {row["series_id"]: float(row["trades"]) for row in rows if row["trades"] is not None}


async def _open_chunks(connection: Any, ids: list[int]) -> Mapping[int, list[Chunk]]:
    chunks: dict[int, list[Chunk]] = defaultdict(list)
    for row in await connection.fetch(_OPEN_CHUNKS, ids):
        chunk = to_chunk(row)
        chunks[chunk.series_id].append(chunk)
    return chunks


async def _cancel(connection: Any, cancelled: Iterable[tuple[Chunk, str]], now: datetime) -> None:
    if pairs := [(chunk.id, reason) for chunk, reason in cancelled]:
        await connection.execute(_CANCEL, *zip(*pairs, strict=True), now)


async def _create(connection: Any, created: Iterable[tuple[Series, NewChunk]], now: datetime) -> None:
    rows = [
        (
            series.id,
            series.exchange,
            chunk.config_id,
            chunk.backfill_id,
            chunk.purpose.value,
            *map(to_instant, chunk.span),
            None if chunk.loss_at is None else to_instant(chunk.loss_at),
        )
        for series, chunk in created
    ]
    if rows:
        await connection.execute(_CREATE, *zip(*rows, strict=True), now)
