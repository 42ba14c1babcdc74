"""Reads backfills: pages of the list, and one backfill with its progress."""

from datetime import datetime
from typing import Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.backfills.estimates import estimate
from admin_api.backfills.progress import progress_of, read_chunks
from admin_api.backfills.schemas import Backfill, BackfillDetails, State
from admin_api.backfills.targets import SeriesNames, WantedRange, read_targets
from admin_api.http.errors import NotFound
from admin_api.http.input_types import QueryInteger
from admin_api.http.pagination import Listing, Page, PageQuery, page_of
from admin_api.writes.transactions import reading
from contracts.coverage import to_milliseconds
from store.tables import backfill_series, backfills

_SERIES: Final = (
    sa.select(sa.func.count())
    .select_from(backfill_series)
    .where(backfill_series.c.backfill_id == backfills.c.id)
    .scalar_subquery()
)
_SHOWN: Final = [
    *(column for column in backfills.c if column.name not in {"starts_at", "ends_at"}),
    backfills.c.starts_at.label("start"),
    backfills.c.ends_at.label("end"),
    _SERIES.label("series"),
]
BACKFILLS: Final = Listing(name="backfills", shown=_SHOWN, orders={"id": (backfills.c.id,)})


class BackfillFilters(PageQuery):
    """The query parameters of the list of backfills."""

    state: State | None = None
    limit: QueryInteger = Field(default=100, ge=1, le=100)
    sort: Literal["-id", "id"] = Field(default="-id", description="`-id`: newest first; `id`: oldest first.")

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """The filters as SQL conditions."""
        return [] if self.state is None else [backfills.c.state == self.state]


async def page_of_backfills(engine: AsyncEngine, filters: BackfillFilters) -> Page[Backfill]:
    """Raises `InvalidInput`."""
    async with reading(engine) as connection:
        return (await page_of(connection, BACKFILLS, filters, filters.conditions())).map(Backfill.model_validate)


async def fetch_backfill(connection: AsyncConnection, backfill_id: int, *, lock: bool = False) -> Backfill:
    """Raises `NotFound`. `lock`: until the commit, no other transaction changes it."""
    query: sa.Select[Any] = sa.select(*_SHOWN).where(backfills.c.id == backfill_id)
    row = (await connection.execute(query.with_for_update(of=backfills) if lock else query)).one_or_none()
    if row is None:
        raise NotFound(f"There is no backfill {backfill_id}; GET /api/v1/admin/data-collection/backfills lists them.")
    return Backfill.model_validate(row)


async def get_details(engine: AsyncEngine, backfill_id: int, now: datetime) -> BackfillDetails:
    """One backfill with its progress, from one snapshot. Raises `NotFound`."""
    columns = [backfill_series.c[name] for name in SeriesNames._fields]
    query = sa.select(*columns).where(backfill_series.c.backfill_id == backfill_id)
    async with reading(engine.execution_options(isolation_level="REPEATABLE READ")) as connection:
        backfill = await fetch_backfill(connection, backfill_id)
        series = [SeriesNames(*row) for row in (await connection.execute(query)).all()]
        wanted = WantedRange(backfill.start, backfill.end, backfill.mode, backfill.source, backfill_id)
        targets = await read_targets(connection, series, wanted, now)
        chunks = await read_chunks(connection, backfill_id, now)
    return BackfillDetails(
        **backfill.model_dump(),
        progress=progress_of(targets, chunks, now, active=backfill.state == "active"),
        remaining=estimate(targets, to_milliseconds(now)),
    )
