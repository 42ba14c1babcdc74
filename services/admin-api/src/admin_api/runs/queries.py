"""Reads the run log: lists of runs and single runs. log-writer writes the run log."""

from collections.abc import Sequence
from typing import Final, Literal
from uuid import UUID

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.http.errors import FieldError, InvalidInput, NotFound
from admin_api.http.input_types import FilterText, Input, QueryInstant, QueryInteger, RowId
from admin_api.http.pagination import Listing, Page, PageQuery, page_of
from admin_api.runs.schemas import ExecutionLog
from admin_api.writes.transactions import reading
from contracts.vocabulary import ErrorClass, RunStatus, job_name
from store.tables import config_timeframes, execution_logs

_columns = [execution_logs.c[name] for name in ExecutionLog.model_fields]
RUNS: Final = Listing(
    name="runs",
    shown=_columns,
    orders={"started_at": (execution_logs.c.started_at, execution_logs.c.id)},
    force_index_scans=True,
)
"""The list of all runs, also those in progress, in the order of their start."""

_OF_SKIPPED: Final = frozenset({ErrorClass.ALREADY_RUNNING, ErrorClass.SUPERSEDED})


class RunConditions(Input):
    """The filters of the run log. Unknown parameters are refused."""

    job_name: FilterText | None = Field(default=None, examples=["collect_data_1"])
    job_type: FilterText | None = Field(default=None, examples=["data_collection"])
    symbol: FilterText | None = Field(default=None, examples=["BTC/USDT"])
    exchange: FilterText | None = Field(default=None, examples=["binance"])
    timeframe: FilterText | None = Field(
        default=None,
        description="Only runs of this timeframe, of configs that collect it now. Scheduled and manual runs have all "
        "timeframes of their config.",
        examples=["1h"],
    )
    status: RunStatus | None = None
    error_class: ErrorClass | None = Field(default=None, description="Only runs that failed or were skipped with it.")
    config_id: RowId | None = None
    run_id: UUID | None = Field(default=None, description="The run id that the trigger request returned.")
    start_date: QueryInstant | None = Field(
        default=None, description="Only runs that started at or after this time; UTC if it has no time zone."
    )
    end_date: QueryInstant | None = Field(
        default=None,
        description="Only runs that started before this time; UTC if it has no time zone.",
        examples=["2025-01-16T10:00:00Z"],
    )

    def conditions(self, jobs: Sequence[str] = ()) -> list[sa.ColumnElement[bool]]:
        """SQL conditions on the table of runs. Raises `InvalidInput`.

        `jobs` are the jobs of the configs that collect `timeframe`, if it is given.
        """
        if self.start_date is not None and self.end_date is not None and self.start_date >= self.end_date:
            raise InvalidInput.of([FieldError("#/start_date", "must be before end_date", where="query")])
        equal = ("job_name", "job_type", "symbol", "exchange", "status", "run_id")
        matches = [execution_logs.c[name] == value for name in equal if (value := getattr(self, name)) is not None]
        if self.config_id is not None:
            # Compares the job name instead, which is equivalent and has an index.
            matches.append(execution_logs.c.job_name == job_name(self.config_id))
        if self.timeframe is not None:
            # The statement contains the names as values. So the planner can estimate the number of their runs, and it
            # chooses the index of the names or the index of the time.
            names = sa.literal([*jobs], sa.ARRAY(sa.Text))
            matches.append(execution_logs.c.job_name == sa.any_(names))
            matches.append(execution_logs.c.metadata.contains({"timeframes": [self.timeframe]}))
        if self.error_class is not None:
            # An error class belongs to one status, which has an index.
            status = RunStatus.SKIPPED if self.error_class in _OF_SKIPPED else RunStatus.FAILED
            matches.append(execution_logs.c.status == status)
            matches.append(execution_logs.c.error_class == self.error_class)
        if self.start_date is not None:
            matches.append(execution_logs.c.started_at >= self.start_date)
        if self.end_date is not None:
            matches.append(execution_logs.c.started_at < self.end_date)
        return matches


class RunFilters(RunConditions, PageQuery):
    """The query parameters of the list of runs."""

    limit: QueryInteger = Field(default=100, ge=1, le=1000)
    sort: Literal["-started_at", "started_at"] = Field(
        default="-started_at", description="`-started_at`: the latest run first."
    )


async def conditions_of(connection: AsyncConnection, query: RunConditions) -> list[sa.ColumnElement[bool]]:
    """The SQL conditions of the filters. Raises `InvalidInput`."""
    if query.timeframe is None:
        return query.conditions()
    columns = config_timeframes.c
    found = sa.select(columns.config_id).where(columns.timeframe == query.timeframe).distinct()
    return query.conditions([job_name(each) for each in await connection.scalars(found)])


async def page_of_runs(engine: AsyncEngine, filters: RunFilters) -> Page[ExecutionLog]:
    """Raises `InvalidInput`."""
    async with reading(engine) as connection:
        conditions = await conditions_of(connection, filters)
        return (await page_of(connection, RUNS, filters, conditions)).map(ExecutionLog.model_validate)


async def one_run(engine: AsyncEngine, log_id: int) -> ExecutionLog:
    """Raises `NotFound`."""
    async with reading(engine) as connection:
        row = (await connection.execute(sa.select(*_columns).where(execution_logs.c.id == log_id))).one_or_none()
    if row is None:
        raise NotFound(f"There is no execution log {log_id}. Retention may have deleted it.")
    return ExecutionLog.model_validate(row)


async def latest(connection: AsyncConnection, limit: int, job_type: str) -> list[ExecutionLog]:
    """The runs of this type with the latest start, read in the caller's transaction."""
    of_type = execution_logs.c.job_type == job_type
    query = sa.select(*_columns).where(of_type).order_by(*RUNS.order("-started_at").by()).limit(limit)
    return [ExecutionLog.model_validate(row) for row in (await connection.execute(query)).all()]
