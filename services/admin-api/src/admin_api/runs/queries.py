"""Reading the run log: lists and single runs. Log-writer writes what is read here."""

from typing import Final, Literal
from uuid import UUID

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.http.errors import FieldError, InvalidInput, NotFound
from admin_api.http.input_types import FilterText, QueryInstant, RowId
from admin_api.http.pagination import Listing, Page, PageQuery, page_of
from admin_api.runs.schemas import ExecutionLog
from admin_api.writes.transactions import reading
from contracts.vocabulary import RunStatus, job_name
from store.tables import execution_logs

_shown = [execution_logs.c[name] for name in ExecutionLog.model_fields]
RUNS: Final = Listing(
    name="runs",
    shown=_shown,
    orders={"started_at": (execution_logs.c.started_at, execution_logs.c.id)},
    force_index_scans=True,
)
"""The run log: what is running or over, by the time of its start."""


class RunFilters(PageQuery):
    """The query of the list of runs."""

    job_name: FilterText | None = Field(default=None, examples=["collect_data_1"])
    job_type: FilterText | None = Field(default=None, examples=["data_collection"])
    symbol: FilterText | None = Field(default=None, examples=["BTC/USDT"])
    exchange: FilterText | None = Field(default=None, examples=["binance"])
    status: RunStatus | None = None
    config_id: RowId | None = None
    run_id: UUID | None = Field(default=None, description="As answered by trigger.")
    start_date: QueryInstant | None = Field(
        default=None, description="Runs that started at or after this; without a zone it is UTC."
    )
    end_date: QueryInstant | None = Field(
        default=None,
        description="Runs that started before this; without a zone it is UTC.",
        examples=["2025-01-16T10:00:00Z"],
    )
    limit: int = Field(default=100, ge=1, le=1000)
    sort: Literal["-started_at", "started_at"] = Field(default="-started_at", description="Latest first, or oldest.")

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """As SQL, on the table of runs."""
        equal = ("job_name", "job_type", "symbol", "exchange", "status", "run_id")
        matches = [execution_logs.c[name] == value for name in equal if (value := getattr(self, name)) is not None]
        if self.config_id is not None:
            # By its job's name, which says the same and has the index.
            matches.append(execution_logs.c.job_name == job_name(self.config_id))
        if self.start_date is not None:
            matches.append(execution_logs.c.started_at >= self.start_date)
        if self.end_date is not None:
            matches.append(execution_logs.c.started_at < self.end_date)
        return matches


async def page_of_runs(engine: AsyncEngine, filters: RunFilters) -> Page[ExecutionLog]:
    """Raises `InvalidInput`."""
    if filters.start_date is not None and filters.end_date is not None and filters.start_date >= filters.end_date:
        raise InvalidInput.of([FieldError("#/start_date", "must be before end_date", where="query")])
    async with reading(engine) as connection:
        return (await page_of(connection, RUNS, filters, filters.conditions())).map(ExecutionLog.model_validate)


async def one_run(engine: AsyncEngine, log_id: int) -> ExecutionLog:
    """Raises `NotFound`."""
    async with reading(engine) as connection:
        row = (await connection.execute(sa.select(*_shown).where(execution_logs.c.id == log_id))).one_or_none()
    if row is None:
        raise NotFound(f"There is no execution log {log_id}; it may be past the retention of logs.")
    return ExecutionLog.model_validate(row)


async def latest(connection: AsyncConnection, limit: int) -> list[ExecutionLog]:
    """The runs that started last, within the caller's transaction."""
    query = sa.select(*_shown).order_by(*RUNS.order("-started_at").by()).limit(limit)
    return [ExecutionLog.model_validate(row) for row in (await connection.execute(query)).all()]
