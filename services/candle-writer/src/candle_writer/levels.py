"""Fills the levels of long series for charts, in the background.

Triggers of `candles` record the units whose candles change. So a unit of a level is either valid, or recorded as stale;
charts read the candles of stale units. A transaction of this module locks one series, like the transactions that write
candles. It joins at most about `CANDLES_PER_STEP` candles.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.bounds import END_OF_INSTANTS, FIRST_INSTANT
from contracts.timeframes import shortest_length
from runtime.database import driver_transaction
from store.chart_levels import EXACT_VOLUME, LEVELS, MIN_CANDLES, levels_of

LEVELS_SECONDS: Final = 60.0
"""The pause between two searches. A search reads the table `series` once."""
CANDLES_PER_STEP: Final = 20_000
"""The largest number of candles for one step, about. A batch with candles of the same series waits for the end of a
step, which takes some ten milliseconds.
"""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_SEARCH: Final = """
SELECT series.id
FROM series JOIN unnest($1::text[], $2::text[]) AS known (timeframe, lengths) USING (timeframe)
  LEFT JOIN series_levels AS levels ON levels.series_id = series.id
WHERE last_open IS NOT NULL AND CASE
  WHEN levels.series_id IS NULL THEN candle_count >= $3
  ELSE levels.lengths <> known.lengths::int[] OR greatest(first_open, $4) < starts_at
    OR least(last_open, $5) >= ends_at + make_interval(secs => levels.lengths[cardinality(levels.lengths)])
    OR EXISTS (SELECT FROM stale_levels WHERE stale_levels.series_id = series.id)
END
ORDER BY series.id
"""
_LOCK: Final = """
SELECT timeframe, greatest(least(last_open, $2), $3) AS last_open
FROM series WHERE id = $1 AND last_open IS NOT NULL FOR NO KEY UPDATE
"""
_STATE: Final = "SELECT starts_at, ends_at, lengths FROM series_levels WHERE series_id = $1"
_FORGET: Final = "DELETE FROM series_levels WHERE series_id = $1"  # this also deletes the rows of the other two tables
_BEGIN: Final = "INSERT INTO series_levels (series_id, starts_at, ends_at, lengths) VALUES ($1, $2, $2, $3)"
_EXTEND: Final = "UPDATE series_levels SET starts_at = $2, ends_at = $3 WHERE series_id = $1"
_TAKE_STALE: Final = """
DELETE FROM stale_levels WHERE series_id = $1 AND starts_at IN (
  SELECT starts_at FROM stale_levels WHERE series_id = $1 ORDER BY starts_at DESC LIMIT $2
)
RETURNING starts_at
"""
_NEXT: Final = "SELECT min(open_time) FROM candles WHERE series_id = $1 AND open_time >= $2 AND open_time < $3"
_PREVIOUS: Final = "SELECT max(open_time) FROM candles WHERE series_id = $1 AND open_time < $2 AND open_time >= $3"

_EMPTY: Final = """
DELETE FROM candle_levels USING unnest($3::timestamptz[], $4::timestamptz[]) AS filled (start, until)
WHERE series_id = $1 AND seconds = $2 AND starts_at >= start AND starts_at < until
"""
# OFFSET 0 forces a look-up by key for each window. Otherwise the plan that Postgres keeps reads the whole series.
_FILL: Final = """
INSERT INTO candle_levels (series_id, seconds, starts_at, open, high, low, close, volume, candles)
SELECT $1::int, $2::int, date_bin(make_interval(secs => $2::int), at, 'epoch'),
       (array_agg(open ORDER BY at))[1], max(high), min(low), (array_agg(close ORDER BY at))[count(*)],
       sum(volume), sum(candles)
FROM unnest($3::timestamptz[], $4::timestamptz[]) AS filled (start, until), LATERAL ({source} OFFSET 0) AS source
GROUP BY 3
"""
_FILL_FROM_CANDLES: Final = _FILL.format(
    source=f"""
  SELECT open_time AS at, open, high, low, close, {EXACT_VOLUME} AS volume, 1 AS candles FROM candles
  WHERE series_id = $1 AND open_time >= start AND open_time < until"""  # noqa: S608 -- a constant
)
_FILL_FROM_LEVEL: Final = _FILL.format(
    source="SELECT starts_at AS at, open, high, low, close, volume, candles FROM candle_levels "
    "WHERE series_id = $1 AND seconds = $5 AND starts_at >= start AND starts_at < until"
)

Window = tuple[datetime, datetime]


class _Levels(NamedTuple):
    """The levels of a series that is locked."""

    starts_at: datetime
    ends_at: datetime
    current: datetime
    """The start of the unit with the newest candle. Levels end here at the latest, because this unit still changes."""
    unit: timedelta
    units_per_step: int


async def fill_levels(engine: AsyncEngine, filled: Callable[[float], object], min_candles: int = MIN_CANDLES) -> None:
    """Fill all levels that are missing or stale. `filled` gets the number of units after each transaction.

    Series with fewer candles than `min_candles` get no levels.
    """
    known = ["{" + ",".join(map(str, lengths)) + "}" for lengths in LEVELS.values()]
    async with driver_transaction(engine) as connection:
        found = await connection.fetch(_SEARCH, list(LEVELS), known, min_candles, FIRST_INSTANT, END_OF_INSTANTS)
    for row in found:
        units = -1
        while units:
            async with driver_transaction(engine) as connection:
                units = await fill_step(connection, row["id"])
            filled(units)


async def fill_step(connection: Any, series_id: int, candles: int = CANDLES_PER_STEP) -> int:
    """Fill levels of one series with the units of about this number of candles. Returns the number of units; 0 if no
    unit is left to fill.

    Stale units are filled first, then new units, then units before the existing levels. `connection` is asyncpg's, in a
    transaction.
    """
    state = await connection.fetchrow(_LOCK, series_id, END_OF_INSTANTS, FIRST_INSTANT)
    lengths = levels_of(state["timeframe"]) if state is not None else ()
    if not lengths:
        return 0
    unit = timedelta(seconds=lengths[-1])
    per_step = max(1, candles * shortest_length(state["timeframe"]) // (lengths[-1] * 1000))
    current = _start_of_unit(state["last_open"], unit)
    stored = await connection.fetchrow(_STATE, series_id)
    if stored is None or stored["lengths"] != list(lengths):
        await connection.execute(_FORGET, series_id)
        await connection.execute(_BEGIN, series_id, current, lengths)
        levels = _Levels(current, current, current, unit, per_step)
    else:
        levels = _Levels(stored["starts_at"], stored["ends_at"], current, unit, per_step)
    windows = (
        await _stale_windows(connection, series_id, levels)
        or await _next_windows(connection, series_id, levels)
        or await _previous_windows(connection, series_id, levels)
    )
    await _fill(connection, series_id, lengths, windows)
    return sum((end - begin) // unit for begin, end in windows)


async def _stale_windows(connection: Any, series_id: int, levels: _Levels) -> list[Window]:
    rows = await connection.fetch(_TAKE_STALE, series_id, levels.units_per_step)
    return [(row["starts_at"], row["starts_at"] + levels.unit) for row in rows]


async def _next_windows(connection: Any, series_id: int, levels: _Levels) -> list[Window]:
    """The next units with candles. None if no candle is left before the current unit."""
    if levels.ends_at >= levels.current:
        return []
    found = await connection.fetchval(_NEXT, series_id, levels.ends_at, levels.current)
    start = levels.current if found is None else _start_of_unit(found, levels.unit)
    end = min(start + levels.units_per_step * levels.unit, levels.current)
    await connection.execute(_EXTEND, series_id, levels.starts_at, end)
    return [(start, end)] if found is not None else []


async def _previous_windows(connection: Any, series_id: int, levels: _Levels) -> list[Window]:
    """The units with candles before the levels. None if there is no candle."""
    found = await connection.fetchval(_PREVIOUS, series_id, levels.starts_at, FIRST_INSTANT)
    if found is None:
        return []
    end = _start_of_unit(found, levels.unit) + levels.unit
    start = max(end - levels.units_per_step * levels.unit, FIRST_INSTANT)
    await connection.execute(_EXTEND, series_id, start, max(levels.ends_at, levels.current))
    return [(start, end)]


async def _fill(connection: Any, series_id: int, lengths: Sequence[int], windows: Sequence[Window]) -> None:
    """Fill all levels of the window. The shortest level is filled from the candles, and each longer level from the next
    shorter one.
    """
    if not windows:
        return
    shorter: int | None = None
    starts, ends = zip(*windows, strict=True)
    for seconds in lengths:
        await connection.execute(_EMPTY, series_id, seconds, starts, ends)
        if shorter is None:
            await connection.execute(_FILL_FROM_CANDLES, series_id, seconds, starts, ends)
        else:
            await connection.execute(_FILL_FROM_LEVEL, series_id, seconds, starts, ends, shorter)
        shorter = seconds


def _start_of_unit(instant: datetime, unit: timedelta) -> datetime:
    return _EPOCH + (instant - _EPOCH) // unit * unit
