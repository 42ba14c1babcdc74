"""The list of series with the number and the time range of their candles, and with their coverage. candle-writer
maintains both.

The coverage of a page is read after the page. A join in the same query would also count the open holes of series that
`skip` leaves out.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.http.input_types import FilterText, QueryInteger
from admin_api.http.pagination import Listing, Page, PageQuery, page_of
from admin_api.writes.transactions import reading
from contracts.bounds import END_OF_INSTANTS, FIRST_INSTANT
from contracts.coverage import SETTLE_TIME
from store.tables import series


class StoredSeries(BaseModel):
    """The stored candles of one timeframe of a symbol on an exchange."""

    model_config = ConfigDict(from_attributes=True)

    exchange: str = Field(examples=["binance"])
    symbol: str = Field(examples=["BTC/USDT"])
    timeframe: str = Field(examples=["1m"])
    candles: int = Field(description="The exact number of stored candles.", examples=[43200])
    first_open_time: datetime = Field(description="The open time of the earliest candle.")
    last_open_time: datetime = Field(description="The open time of the latest candle.")
    verified_from: datetime | None = Field(
        default=None, description="The first verified instant. Null if nothing is verified."
    )
    verified_until: datetime | None = Field(
        default=None, description="The end of the last verified span. Null if nothing is verified."
    )
    open_holes: int = Field(
        default=0,
        description="The number of gaps between the verified spans, without those in the newest ten minutes: a quiet "
        "market nearly always has some, and the next runs read them again. `GET /coverage` shows each gap, one entry "
        "for each class.",
        examples=[0],
    )


_COVERAGE: Final = sa.text(
    """
SELECT series_id, lower(known) AS verified_from, upper(known) AS verified_until,
       (SELECT greatest(count(*) - 1, 0) FROM unnest(known) AS span
        WHERE lower(span) <= upper(known) - CAST(:settle_time AS interval)) AS open_holes
FROM coverage, LATERAL (SELECT verified * tstzmultirange(tstzrange(:first, :end)) AS known) AS clipped
WHERE series_id = ANY(:series_ids)
"""
)


def _within_bounds(instant: sa.Column[datetime]) -> sa.ColumnElement[datetime]:
    """The column, or the limit if an earlier release stored a time that Python cannot represent."""
    return sa.func.greatest(sa.func.least(instant, END_OF_INSTANTS), FIRST_INSTANT)


SERIES: Final = Listing(
    name="series",
    shown=[
        series.c.id,
        series.c.exchange,
        series.c.symbol,
        series.c.timeframe,
        series.c.candle_count.label("candles"),
        _within_bounds(series.c.first_open).label("first_open_time"),
        _within_bounds(series.c.last_open).label("last_open_time"),
    ],
    orders={
        "exchange": (series.c.exchange, series.c.symbol, series.c.timeframe),
        "symbol": (series.c.symbol, series.c.exchange, series.c.timeframe),
    },
)


class SeriesFilters(PageQuery):
    """The query parameters of the list of series."""

    exchange: FilterText | None = Field(default=None, examples=["binance"])
    symbol: FilterText | None = Field(default=None, examples=["BTC/USDT"])
    timeframe: FilterText | None = Field(default=None, examples=["1m"])
    limit: QueryInteger = Field(default=100, ge=1, le=1000)
    sort: Literal["exchange", "-exchange", "symbol", "-symbol"] = Field(
        default="exchange",
        description="`exchange`: by exchange, symbol and timeframe. `symbol`: by symbol, exchange and timeframe.",
    )

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """SQL conditions on the table of series. A series without candles is not listed."""
        equal = ("exchange", "symbol", "timeframe")
        matches = [series.c[name] == value for name in equal if (value := getattr(self, name)) is not None]
        return [series.c.candle_count > 0, *matches]


async def page_of_series(engine: AsyncEngine, filters: SeriesFilters) -> Page[StoredSeries]:
    """Raises `InvalidInput`."""
    async with reading(engine) as connection:
        page = await page_of(connection, SERIES, filters, filters.conditions())
        coverage = await _coverage_of(connection, [row.id for row in page.rows])
    return page.map(lambda row: StoredSeries.model_validate({**row._mapping, **coverage.get(row.id, {})}))  # noqa: SLF001 -- SQLAlchemy's public name


async def _coverage_of(connection: AsyncConnection, series_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The fields of each series that has verified spans."""
    values = {
        "series_ids": series_ids,
        "settle_time": SETTLE_TIME,
        "first": FIRST_INSTANT,
        "end": END_OF_INSTANTS,
    }
    rows = (await connection.execute(_COVERAGE, values)).all()
    return {row.series_id: dict(row._mapping) for row in rows}  # noqa: SLF001 -- SQLAlchemy's public name
