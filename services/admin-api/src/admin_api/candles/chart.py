"""Candles of a series at the resolution of a screen: each point joins a whole number of periods."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from typing_extensions import TypedDict

from admin_api.candles.chart_points import ChartPoints, chart_points
from admin_api.candles.chart_sources import Levels, sources_of
from admin_api.candles.series_lookup import SeriesName, find_series
from admin_api.http.errors import FieldError, InvalidInput
from admin_api.http.input_types import QueryInstant, QueryInteger
from admin_api.writes.transactions import reading
from contracts.bounds import END_OF_INSTANTS, FIRST_INSTANT
from contracts.coverage import to_instant, to_milliseconds
from contracts.spans import Intervals
from store.chart_levels import EXACT_VOLUME
from store.periods import PeriodGrid
from store.tables import series, series_levels, stale_levels

MAX_POINTS: Final = 2_000


class ChartQuery(SeriesName):
    """The query parameters of the chart. Unknown parameters are refused."""

    start: QueryInstant | None = Field(
        default=None,
        description="The start of the range; UTC if it has no time zone. If it is left out, the first candle.",
    )
    end: QueryInstant | None = Field(
        default=None,
        description="The end of the range. If it is left out, the end of the last candle.",
        examples=["2025-01-16T10:00:00Z"],
    )
    points: QueryInteger = Field(
        default=500,
        ge=2,
        le=MAX_POINTS,
        description="The maximum number of points. The API chooses the shortest points that are not more.",
    )


class ChartPoint(TypedDict):
    """The candles that open in one point, joined into one."""

    open_time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    candles: int


class Chart(BaseModel):
    """A range of a series in points of equal length."""

    exchange: str = Field(examples=["binance"])
    symbol: str = Field(examples=["BTC/USDT"])
    timeframe: str = Field(examples=["1m"])
    first_open_time: datetime | None = Field(description="The open time of the earliest candle. Null: no candles.")
    last_open_time: datetime | None = Field(description="The open time of the latest candle.")
    start: datetime | None = Field(
        description="The start of the first point. The range is limited to the stored candles and widened to whole "
        "points. Null if it contains no stored candles."
    )
    end: datetime | None = Field(description="The end of the last point. Null like `start`.")
    periods: int = Field(
        description="The number of periods of each point. 1: the points are the candles themselves.", examples=[60]
    )
    length_seconds: float | None = Field(
        description="The length of each point. Null for months and years, whose length differs.", examples=[3600.0]
    )
    points: list[ChartPoint] = Field(
        description="Ascending. `open` is that of the first candle and `close` that of the last one; `high`, `low` and "
        "`volume` are those of all. A point without candles is left out."
    )


class _Extent(NamedTuple):
    """The open times of the first and the last candle. None if there is no candle."""

    first: datetime | None = None
    last: datetime | None = None


_READ: Final = """
SELECT point AS open_time, (array_agg(open))[1] AS open, max(high) AS high, min(low) AS low,
       (array_agg(close))[count(*)] AS close, CAST(sum(volume) AS float8) AS volume, sum(candles) AS candles
FROM (SELECT {start} AS point, * FROM ({rows}) AS unordered ORDER BY point, at) AS rows
GROUP BY point ORDER BY point
"""
_CANDLES: Final = f"""
SELECT read.*
FROM unnest(CAST(:candles_from AS timestamptz[]), CAST(:candles_until AS timestamptz[])) AS span (start, until),
  LATERAL (
    SELECT open_time AS at, open, high, low, close, {EXACT_VOLUME} AS volume, 1 AS candles
    FROM candles WHERE series_id = :series_id AND open_time >= start AND open_time < until OFFSET 0
  ) AS read
"""  # noqa: S608 -- a constant
_LEVEL: Final = """
SELECT read.*
FROM unnest(CAST(:level_from AS timestamptz[]), CAST(:level_until AS timestamptz[])) AS span (start, until),
  LATERAL (
    SELECT starts_at AS at, open, high, low, close, volume, candles
    FROM candle_levels
    WHERE series_id = :series_id AND seconds = :seconds AND starts_at >= start AND starts_at < until OFFSET 0
  ) AS read
"""
# OFFSET 0 forces a look-up by key for each span. Otherwise the plan that Postgres keeps reads the whole series.


async def chart_of(engine: AsyncEngine, query: ChartQuery) -> Chart:
    """Raises `InvalidInput`, and `NotFound` for a series that no config collects and that has no candles."""
    if query.start is not None and query.end is not None and query.start >= query.end:
        raise InvalidInput.of([FieldError("#/start", "must be before end", where="query")])
    extent = _Extent()
    points: ChartPoints | None = None
    rows: list[ChartPoint] = []
    async with reading(engine.execution_options(isolation_level="REPEATABLE READ")) as connection:
        series_id = await find_series(connection, query)
        if series_id is not None:
            extent, levels = await _state_of(connection, series_id)
            points = _points_of(query, extent)
            if points is not None:
                rows = await _read(connection, series_id, points, levels)
    return Chart(
        exchange=query.exchange,
        symbol=query.symbol,
        timeframe=query.timeframe,
        first_open_time=extent.first,
        last_open_time=extent.last,
        start=points and to_instant(points.start),
        end=points and to_instant(points.end),
        periods=points.periods if points else 1,
        length_seconds=None if points is None or points.length_ms is None else points.length_ms / 1000,
        points=rows,
    )


async def _state_of(connection: AsyncConnection, series_id: int) -> tuple[_Extent, Levels | None]:
    """The known times and the levels of the series, limited to times that Python can represent: an earlier release may
    have stored others.
    """
    columns = (series.c.first_open, series.c.last_open)
    limited = [sa.func.greatest(sa.func.least(each, END_OF_INSTANTS), FIRST_INSTANT) for each in columns]
    query = (
        sa.select(*limited, series_levels.c.starts_at, series_levels.c.ends_at, series_levels.c.lengths)
        .select_from(series.outerjoin(series_levels))
        .where(series.c.id == series_id, series.c.last_open.is_not(None))
    )
    row = (await connection.execute(query)).first()
    if row is None:
        return _Extent(), None
    levels = None
    if row.starts_at is not None:
        levels = Levels(to_milliseconds(row.starts_at), to_milliseconds(row.ends_at), tuple(row.lengths))
    return _Extent(row[0], row[1]), levels


def _points_of(query: ChartQuery, extent: _Extent) -> ChartPoints | None:
    """The points of the part of the range that has candles. None if it has none."""
    if extent.first is None or extent.last is None:
        return None
    start = max(query.start or extent.first, extent.first)
    after_last = extent.last + timedelta(milliseconds=1)
    end = min(query.end or after_last, after_last, END_OF_INSTANTS)
    if start >= end:
        return None
    # The newest candle decides, because an exchange may have opened its oldest candles at irregular times.
    grid = PeriodGrid.of_series(query.exchange, query.timeframe, to_milliseconds(extent.last))
    return chart_points(grid, to_milliseconds(start), to_milliseconds(end), query.points)


async def _read(
    connection: AsyncConnection, series_id: int, points: ChartPoints, levels: Levels | None
) -> list[ChartPoint]:
    # Postgres would need more time for this than for the query
    await connection.execute(sa.text("SET LOCAL jit = off"))
    stale = await _stale_units(connection, series_id, points, levels) if levels else ()
    sources = sources_of(points, levels, stale)
    values: dict[str, Any] = points.sql_parameters() | {"series_id": series_id}
    parts = []
    if sources.candles:
        parts.append(_CANDLES)
        values |= _edges("candles", sources.candles)
    if sources.level:
        parts.append(_LEVEL)
        values |= _edges("level", sources.level) | {"seconds": sources.seconds}
    statement = sa.text(_READ.format(start=points.sql_start("at"), rows=" UNION ALL ".join(parts)))
    rows = (await connection.execute(statement, values)).all()
    return [ChartPoint(**row._mapping) for row in rows]  # type: ignore[typeddict-item]  # noqa: SLF001 -- SQLAlchemy's public name


def _edges(name: str, spans: Intervals) -> dict[str, Any]:
    """The parameters of the spans of a source."""
    return {
        f"{name}_from": [to_instant(start) for start, _ in spans],
        f"{name}_until": [min(to_instant(end), END_OF_INSTANTS) for _, end in spans],
    }


async def _stale_units(
    connection: AsyncConnection, series_id: int, points: ChartPoints, levels: Levels
) -> Sequence[int]:
    """The starts of the units in the range whose levels are stale."""
    query = sa.select(stale_levels.c.starts_at).where(
        stale_levels.c.series_id == series_id,
        stale_levels.c.starts_at > to_instant(points.start - levels.unit_ms),
        stale_levels.c.starts_at < min(to_instant(points.end), END_OF_INSTANTS),
    )
    return [to_milliseconds(start) for start in (await connection.execute(query)).scalars()]
