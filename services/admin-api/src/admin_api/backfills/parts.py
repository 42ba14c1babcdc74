"""Reads the parts of one backfill, page by page: its series with their progress, and its chunks."""

from datetime import datetime
from typing import Final, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.backfills.estimates import Target
from admin_api.backfills.progress import percent_of
from admin_api.backfills.queries import fetch_backfill
from admin_api.backfills.schemas import BackfillChunk, BackfillSeries, ChunkState
from admin_api.backfills.targets import SeriesNames, WantedRange, read_targets
from admin_api.http.input_types import QueryInteger
from admin_api.http.pagination import Listing, Page, PageQuery, page_of
from admin_api.writes.transactions import reading
from store.tables import backfill_chunks, backfill_series, series

_SERIES: Final = Listing(
    name="backfill-series",
    shown=[backfill_series.c[name] for name in SeriesNames._fields],
    orders={"exchange": (backfill_series.c.exchange, backfill_series.c.symbol, backfill_series.c.timeframe)},
)
_CHUNKS: Final = Listing(
    name="backfill-chunks",
    shown=[
        *(backfill_chunks.c[name] for name in BackfillChunk.model_fields if name in backfill_chunks.c),
        backfill_chunks.c.starts_at.label("start"),
        backfill_chunks.c.ends_at.label("end"),
        *(
            sa.select(series.c[name]).where(series.c.id == backfill_chunks.c.series_id).scalar_subquery().label(name)
            for name in ("symbol", "timeframe")
        ),
    ],
    orders={"id": (backfill_chunks.c.id,)},
)


class BackfillSeriesQuery(PageQuery):
    """The query parameters of the series of a backfill."""

    limit: QueryInteger = Field(default=100, ge=1, le=100)
    sort: Literal["exchange", "-exchange"] = Field(
        default="exchange", description="`exchange`: by exchange, then symbol, then timeframe."
    )


class BackfillChunksQuery(PageQuery):
    """The query parameters of the chunks of a backfill."""

    state: ChunkState | None = None
    limit: QueryInteger = Field(default=100, ge=1, le=1000)
    sort: Literal["-id", "id"] = Field(
        default="id", description="`id`: in the order of their creation; `-id`: the latest first."
    )


async def page_of_backfill_series(
    engine: AsyncEngine, backfill_id: int, query: BackfillSeriesQuery, now: datetime
) -> Page[BackfillSeries]:
    """The progress is read for the series of the page only. Raises `NotFound`, `InvalidInput`."""
    async with reading(engine.execution_options(isolation_level="REPEATABLE READ")) as connection:
        backfill = await fetch_backfill(connection, backfill_id)
        page = await page_of(connection, _SERIES, query, [backfill_series.c.backfill_id == backfill_id])
        names = [SeriesNames._make(row) for row in page.rows]
        wanted = WantedRange(backfill.start, backfill.end, backfill.mode, backfill.source, backfill_id)
        targets = await read_targets(connection, names, wanted, now)
    rows = [_series_of(each, target) for each, target in zip(names, targets, strict=True)]
    return Page(rows, page.total, page.next_cursor)


async def page_of_backfill_chunks(
    engine: AsyncEngine, backfill_id: int, query: BackfillChunksQuery
) -> Page[BackfillChunk]:
    """Raises `NotFound`, `InvalidInput`."""
    matches = [backfill_chunks.c.backfill_id == backfill_id]
    if query.state is not None:
        matches.append(backfill_chunks.c.state == query.state)
    async with reading(engine) as connection:
        await fetch_backfill(connection, backfill_id)
        return (await page_of(connection, _CHUNKS, query, matches)).map(BackfillChunk.model_validate)


def _series_of(names: SeriesNames, target: Target) -> BackfillSeries:
    candles, missing = target.candles, target.missing_candles
    return BackfillSeries(
        **names._asdict(),
        candles=candles,
        missing_candles=missing,
        percent=percent_of(candles, missing),
        is_whole=bool(candles) and not missing,
    )
