"""The list of series with the number and time range of their candles. candle-writer maintains these values."""

from datetime import datetime
from typing import Final, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.http.input_types import FilterText
from admin_api.http.pagination import Listing, Page, PageQuery, page_of
from admin_api.writes.transactions import reading
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


SERIES: Final = Listing(
    name="series",
    shown=[
        series.c.exchange,
        series.c.symbol,
        series.c.timeframe,
        series.c.candle_count.label("candles"),
        series.c.first_open.label("first_open_time"),
        series.c.last_open.label("last_open_time"),
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
    limit: int = Field(default=100, ge=1, le=1000)
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
        return (await page_of(connection, SERIES, filters, filters.conditions())).map(StoredSeries.model_validate)
