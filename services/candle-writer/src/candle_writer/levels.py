"""Fills the levels of long series for charts, in the background.

Triggers of `candles` note the units whose candles change, so a level never disagrees with the candles: it is either
valid, or it is noted as stale and charts read the candles. A transaction here locks one series, as those that write
candles do, and joins at most about `CANDLES_PER_STEP` candles.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.bounds import END_OF_INSTANTS, FIRST_INSTANT
from contracts.timeframes import shortest_length
from runtime.database import driver_transaction
from store.chart_levels import LEVELS, MIN_CANDLES, levels_of

LEVELS_SECONDS: Final = 60.0
"""The pause between two searches. A search reads the table `series` once."""
CANDLES_PER_STEP: Final = 20_000
"""A batch of candles of the same series waits for a step: some ten milliseconds."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_SEARCH: Final = """
SELECT id FROM series JOIN unnest($1::text[], $2::text[]) AS known (timeframe, levels) USING (timeframe)
WHERE last_open IS NOT NULL AND CASE
  WHEN levels_from IS NULL THEN candle_count >= $3
  ELSE levels_seconds <> levels::int[] OR greatest(first_open, $4) < levels_from
    OR least(last_open, $5) >= levels_until + make_interval(secs => levels_seconds[cardinality(levels_seconds)])
    OR EXISTS (SELECT FROM stale_levels WHERE series_id = series.id)
END
ORDER BY id
"""
_LOCK: Final = """
SELECT timeframe, levels_from, levels_until, levels_seconds,
       greatest(least(last_open, $2), $3) AS last_open
FROM series WHERE id = $1 AND last_open IS NOT NULL FOR NO KEY UPDATE
"""
_TAKE_STALE: Final = """
DELETE FROM stale_levels WHERE series_id = $1 AND starts_at IN (
  SELECT starts_at FROM stale_levels WHERE series_id = $1 ORDER BY starts_at DESC LIMIT $2
)
RETURNING starts_at
"""
_NEXT: Final = "SELECT min(open_time) FROM candles WHERE series_id = $1 AND open_time >= $2 AND open_time < $3"
_PREVIOUS: Final = "SELECT max(open_time) FROM candles WHERE series_id = $1 AND open_time < $2 AND open_time >= $3"
_SET: Final = "UPDATE series SET levels_from = $2, levels_until = $3, levels_seconds = $4 WHERE id = $1"
_FORGET: Final = ("DELETE FROM candle_levels WHERE series_id = $1", "DELETE FROM stale_levels WHERE series_id = $1")

_EMPTY: Final = """
DELETE FROM candle_levels USING unnest($3::timestamptz[], $4::timestamptz[]) AS filled (start, until)
WHERE series_id = $1 AND seconds = $2 AND starts_at >= start AND starts_at < until
"""
_FILL: Final = """
INSERT INTO candle_levels (series_id, seconds, starts_at, open, high, low, close, volume, candles)
SELECT $1::int, $2::int, date_bin(make_interval(secs => $2::int), at, 'epoch'),
       (array_agg(open ORDER BY at))[1], max(high), min(low), (array_agg(close ORDER BY at))[count(*)],
       sum(volume), sum(candles)
FROM unnest($3::timestamptz[], $4::timestamptz[]) AS filled (start, until), LATERAL ({source}) AS source
GROUP BY 3
"""
_FILL_FROM_CANDLES: Final = _FILL.format(
    source="SELECT open_time AS at, open, high, low, close, least(volume, 1e290) AS volume, 1 AS candles FROM candles "
    "WHERE series_id = $1 AND open_time >= start AND open_time < until"
)
# The limit of a volume keeps the sum of impossible values within the range of a float. Charts have the same limit.
_FILL_FROM_LEVEL: Final = _FILL.format(
    source="SELECT starts_at AS at, open, high, low, close, volume, candles FROM candle_levels "
    "WHERE series_id = $1 AND seconds = $5 AND starts_at >= start AND starts_at < until"
)

Window = tuple[datetime, datetime]


async def fill_levels(engine: AsyncEngine, filled: Callable[[float], object]) -> None:
    """Fill all levels that are missing or stale. `filled` gets the number of units after each transaction."""
    levels = ["{" + ",".join(map(str, lengths)) + "}" for lengths in LEVELS.values()]
    search = (list(LEVELS), levels, MIN_CANDLES, FIRST_INSTANT, END_OF_INSTANTS)
    async with driver_transaction(engine) as connection:
        found = [row["id"] for row in await connection.fetch(_SEARCH, *search)]
    for series_id in found:
        units = -1
        while units:
            async with driver_transaction(engine) as connection:
                units = await fill_step(connection, series_id)
            filled(units)


async def fill_step(connection: Any, series_id: int) -> int:
    """Fill some levels of a series. Returns the number of units; 0 if nothing is left.

    `connection` is asyncpg's, in a transaction.
    """
    state = await connection.fetchrow(_LOCK, series_id, END_OF_INSTANTS, FIRST_INSTANT)
    levels = levels_of(state["timeframe"]) if state is not None else ()
    if not levels:
        return 0
    unit = timedelta(seconds=levels[-1])
    start, until = state["levels_from"], state["levels_until"]
    current = _start_of_unit(state["last_open"], unit)
    if start is None or state["levels_seconds"] != list(levels):
        for statement in _FORGET:
            await connection.execute(statement, series_id)
        start = until = current
    units = max(1, CANDLES_PER_STEP * shortest_length(state["timeframe"]) // (levels[-1] * 1000))
    windows = await _stale_windows(connection, series_id, unit, units)
    if not windows and until < current:
        window = await _next_window(connection, series_id, (until, current), unit, units)
        until = window[1] if window else current
        windows = [window] if window else []
    if not windows and (window := await _previous_window(connection, series_id, start, unit, units)):
        start = window[0]
        windows = [window]
    await connection.execute(_SET, series_id, start, until, levels)
    await _fill(connection, series_id, levels, windows)
    return sum((end - begin) // unit for begin, end in windows)


async def _stale_windows(connection: Any, series_id: int, unit: timedelta, units: int) -> list[Window]:
    rows = await connection.fetch(_TAKE_STALE, series_id, units)
    return [(row["starts_at"], row["starts_at"] + unit) for row in rows]


async def _next_window(connection: Any, series_id: int, between: Window, unit: timedelta, units: int) -> Window | None:
    """The next units with candles. None if no candle is left between the times."""
    found = await connection.fetchval(_NEXT, series_id, *between)
    if found is None:
        return None
    start = _start_of_unit(found, unit)
    return start, min(start + units * unit, between[1])


async def _previous_window(
    connection: Any, series_id: int, before: datetime, unit: timedelta, units: int
) -> Window | None:
    """The units with candles before a time. None if there is no candle."""
    found = await connection.fetchval(_PREVIOUS, series_id, before, FIRST_INSTANT)
    if found is None:
        return None
    until = _start_of_unit(found, unit) + unit
    return max(until - units * unit, FIRST_INSTANT), until


async def _fill(connection: Any, series_id: int, levels: Sequence[int], windows: Sequence[Window]) -> None:
    """The shortest level is filled from the candles, each longer one from the level before."""
    if not windows:
        return
    shorter: int | None = None
    starts, ends = zip(*windows, strict=True)
    for seconds in levels:
        await connection.execute(_EMPTY, series_id, seconds, starts, ends)
        if shorter is None:
            await connection.execute(_FILL_FROM_CANDLES, series_id, seconds, starts, ends)
        else:
            await connection.execute(_FILL_FROM_LEVEL, series_id, seconds, starts, ends, shorter)
        shorter = seconds


def _start_of_unit(instant: datetime, unit: timedelta) -> datetime:
    return _EPOCH + (instant - _EPOCH) // unit * unit
