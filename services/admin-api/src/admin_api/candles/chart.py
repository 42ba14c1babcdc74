"""Candles of a series at the resolution of a screen: each point joins a whole number of periods."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from typing_extensions import TypedDict

from admin_api.candles.chart_points import ChartPoints, chart_points
from admin_api.candles.chart_sources import Levels, joined, sources_of
from admin_api.candles.series_lookup import SeriesName, find_series
from admin_api.http.errors import FieldError, InvalidInput
from admin_api.http.input_types import QueryInstant, QueryInteger
from admin_api.writes.transactions import reading
from contracts.bounds import END_OF_INSTANTS, FIRST_INSTANT
from contracts.coverage import to_instant, to_milliseconds
from store.periods import PeriodGrid
from store.tables import series, stale_levels

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
    """The open times of the first and the last candle. None: there is no candle."""

    first: datetime | None = None
    last: datetime | None = None


_READ: Final = """
SELECT point, (SELECT open FROM {table} WHERE {key} AND {at} = first_row), high, low,
       (SELECT close FROM {table} WHERE {key} AND {at} = last_row), volume, candles, first_row, last_row
FROM (
  SELECT {start} AS point, min({at}) AS first_row, max({at}) AS last_row,
         max(high) AS high, min(low) AS low, sum({volume}) AS volume, {count} AS candles
  FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])) AS span (start, until)
    JOIN {table} ON {key} AND {at} >= start AND {at} < until
  GROUP BY 1
) AS points
"""
# The columns are those of `Part`. Look-ups of the first and the last row are faster than sorted arrays. The limit
# of a volume keeps the sum of impossible values within the range of a float. The levels have the same limit.
_CANDLES: Final = {
    "table": "candles",
    "key": "series_id = :series_id",
    "at": "open_time",
    "volume": "least(volume, 1e290)",
    "count": "count(*)",
}
_LEVEL: Final = {
    "table": "candle_levels",
    "key": "series_id = :series_id AND seconds = :seconds",
    "at": "starts_at",
    "volume": "volume",
    "count": "sum(candles)",
}


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
    """An earlier release may have stored candles at times that Python cannot represent."""
    columns = (series.c.first_open, series.c.last_open)
    limited = [sa.func.greatest(sa.func.least(each, END_OF_INSTANTS), FIRST_INSTANT) for each in columns]
    query = sa.select(*limited, series.c.levels_from, series.c.levels_until, series.c.levels_seconds)
    row = (await connection.execute(query.where(series.c.id == series_id, series.c.last_open.is_not(None)))).first()
    if row is None:
        return _Extent(), None
    levels = None
    if row.levels_from is not None:
        start, until = to_milliseconds(row.levels_from), to_milliseconds(row.levels_until)
        levels = Levels(start, until, tuple(row.levels_seconds))
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
    await connection.execute(sa.text("SET LOCAL jit = off"))  # it would take longer than the query
    stale = await _stale_units(connection, series_id, points, levels) if levels else ()
    sources = sources_of(points, levels, stale)
    rows: list[Sequence[Any]] = []
    for source, spans in ((_CANDLES, sources.candles), (_LEVEL, sources.level)):
        if spans:
            starts, ends = zip(*spans, strict=True)
            values = points.sql_parameters() | {
                "series_id": series_id,
                "starts": [to_instant(each) for each in starts],
                "ends": [min(to_instant(each), END_OF_INSTANTS) for each in ends],
            }
            if source is _LEVEL:
                values["seconds"] = sources.seconds
            statement = sa.text(_READ.format(start=points.sql_start(source["at"]), **source))
            rows += (await connection.execute(statement, values)).all()
    return [_point(*row) for row in joined(rows)]


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


def _point(
    open_time: datetime, opens: float, high: float, low: float, close: float, volume: float, candles: int, *_: datetime
) -> ChartPoint:
    return {
        "open_time": open_time,
        "open": opens,
        "high": high,
        "low": low,
        "close": close,
        "volume": volume,
        "candles": candles,
    }
