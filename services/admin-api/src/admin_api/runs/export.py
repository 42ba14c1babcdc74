"""The run log as CSV. It is read page by page while it is sent, so memory and transactions stay small."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.http.csv_text import csv_lines
from admin_api.http.input_types import QueryInteger
from admin_api.http.pagination import force_index_scans
from admin_api.runs.queries import RUNS, RunConditions, conditions_of
from admin_api.writes.transactions import reading
from store.tables import execution_logs

MAX_ROWS: Final = 100_000
COLUMNS: Final = (
    *("id", "run_id", "config_id", "job_type", "exchange", "symbol", "trigger", "status"),
    *("scheduled_for", "started_at", "finished_at", "duration_seconds", "records_collected"),
    *("error_class", "error_message"),
)
_PAGE: Final = 1000
_ORDER: Final = RUNS.order("-started_at")
_SELECTED: Final = [execution_logs.c[name] for name in COLUMNS]


class ExportQuery(RunConditions):
    """The query parameters of the export. Unknown parameters are refused."""

    limit: QueryInteger = Field(
        default=MAX_ROWS, ge=1, le=MAX_ROWS, description="The maximum number of runs, the latest first."
    )


async def export_runs(engine: AsyncEngine, query: ExportQuery) -> AsyncIterator[str]:
    """The text of the CSV in parts. The first page is read before this returns, so its errors can be answered.

    Raises `InvalidInput`.
    """
    async with reading(engine) as connection:
        matches = await conditions_of(connection, query)
    first = await _page(engine, matches, None, min(_PAGE, query.limit))
    return _parts(engine, matches, first, query.limit)


async def _parts(
    engine: AsyncEngine, matches: Sequence[sa.ColumnElement[bool]], rows: Sequence[sa.Row[Any]], left: int
) -> AsyncIterator[str]:
    yield csv_lines([COLUMNS])
    while rows:
        yield csv_lines(rows)
        left -= len(rows)
        if left <= 0 or len(rows) < _PAGE:
            return
        rows = await _page(engine, matches, rows[-1], min(_PAGE, left))


async def _page(
    engine: AsyncEngine, matches: Sequence[sa.ColumnElement[bool]], last: sa.Row[Any] | None, limit: int
) -> Sequence[sa.Row[Any]]:
    """The runs after `last`. Each page is read in a separate transaction, so that a slow client does not hold a
    connection.
    """
    page = sa.select(*_SELECTED).where(*matches).order_by(*_ORDER.by()).limit(limit)
    if last is not None:
        page = page.where(_ORDER.after((last.started_at, last.id)))
    async with reading(engine) as connection:
        await force_index_scans(connection)
        return (await connection.execute(page)).all()
