"""The list of rejected rows of a series."""

from datetime import datetime
from typing import Final, Literal
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.candles.series_lookup import SeriesName, find_series
from admin_api.coverage.ledger import rejected_between
from admin_api.coverage.schemas import CoverageQuery
from admin_api.http.errors import FieldError, InvalidInput
from admin_api.http.input_types import QueryInstant, QueryInteger
from admin_api.http.pagination import Listing, Page, PageQuery, Total, page_of
from admin_api.writes.transactions import reading
from store.tables import rejected_candles


class RejectedCandle(BaseModel):
    """A row that cannot be a candle. The exchange sent it more than once."""

    model_config = ConfigDict(from_attributes=True)

    open_time: datetime = Field(description="The open time in the row.")
    row: str = Field(description="The row as ccxt parsed it, as JSON.", examples=["[1795348800000,1,0.5,0.9,1,7]"])
    reason: str = Field(
        description="The reason why it is no candle, in words.", examples=["the high 0.5 is below the open 1"]
    )
    first_seen: datetime
    last_seen: datetime
    times: int = Field(description="The number of runs that saw it. 100: at least 100.")
    run_id: UUID = Field(description="The run that saw it last.")


REJECTED: Final = Listing(
    name="rejected-candles",
    shown=[rejected_candles.c[name] for name in RejectedCandle.model_fields],
    orders={"open_time": (rejected_candles.c.open_time, rejected_candles.c.row)},
)
"""The list of rejected rows. It contains one series at a time, so the primary key (series, open time, row) gives the
order.
"""


class RejectedFilters(PageQuery, SeriesName):
    """The query parameters of the list of rejected rows."""

    start: QueryInstant | None = Field(
        default=None, description="Only rows that open at this time or later; UTC if it has no time zone."
    )
    end: QueryInstant | None = Field(
        default=None, description="Only rows that open before this time.", examples=["2025-01-16T10:00:00Z"]
    )
    limit: QueryInteger = Field(default=100, ge=1, le=1000)
    sort: Literal["open_time", "-open_time"] = Field(
        default="open_time", description="`open_time`: the earliest first; `-open_time`: the latest first."
    )


async def page_of_rejected(engine: AsyncEngine, filters: RejectedFilters) -> Page[RejectedCandle]:
    """Raises `InvalidInput`, and `NotFound` for a series that no config collects and about which nothing is known."""
    if filters.start is not None and filters.end is not None and filters.start >= filters.end:
        raise InvalidInput.of([FieldError("#/start", "must be before end", where="query")])
    async with reading(engine) as connection:
        series_id = await find_series(connection, filters)
        if series_id is None:
            return Page([], Total(0, exact=True), None)
        matches = rejected_between(series_id, filters.start, filters.end)
        return (await page_of(connection, REJECTED, filters, matches)).map(RejectedCandle.model_validate)


def link_to_rejected(path: str, query: CoverageQuery) -> str:
    """The list of the rejected rows in the range of `query`, as a path with a query."""
    names = ("exchange", "symbol", "timeframe", "start", "end")
    return f"{path}?{urlencode({name: value for name, value in query.filters().items() if name in names})}"
