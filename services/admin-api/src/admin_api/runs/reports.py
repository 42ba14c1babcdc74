"""Reports on the run log: the SQL queries of the operator's guide as endpoints."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.http.input_types import DIGITS, Input, QueryInteger
from admin_api.http.pagination import Listing, Page, PageQuery, page_of
from admin_api.runs.hourly_counts import exchange_totals
from admin_api.runs.queries import RUNS
from admin_api.runs.schemas import ExchangeReport, ExecutionLog, SymbolReport
from admin_api.runs.statistics import success_rate
from admin_api.writes.transactions import reading
from contracts.vocabulary import JobType, RunStatus
from store.tables import execution_logs

MAX_HOURS: Final = 720
FAILURES: Final = Listing(name="recent-failures", shown=RUNS.shown, orders=RUNS.orders, force_index_scans=True)
_logs: Final = execution_logs.c
_average_duration: Final = sa.func.avg(_logs.duration_seconds).label("avg_duration")
_records: Final = sa.func.sum(_logs.records_collected).label("total_records")


class TopSymbolsQuery(Input):
    """Unknown parameters are refused."""

    hours: QueryInteger = Field(
        default=168, ge=1, le=MAX_HOURS, description="Only runs that started in the last `hours` hours."
    )
    limit: QueryInteger = Field(default=10, ge=1, le=100)


class ExchangesQuery(Input):
    """Unknown parameters are refused."""

    hours: Annotated[int, Field(ge=1, le=MAX_HOURS), DIGITS] | None = Field(
        default=None,
        description="Only runs that started in the last `hours` hours. If it is left out, all runs of the log.",
    )


class FailuresQuery(PageQuery):
    """The query parameters of the list of failures."""

    hours: QueryInteger = Field(
        default=24, ge=1, le=MAX_HOURS, description="Only runs that started in the last `hours` hours."
    )
    limit: QueryInteger = Field(default=100, ge=1, le=1000)
    sort: Literal["-started_at", "started_at"] = Field(
        default="-started_at", description="`-started_at`: the latest run first."
    )


async def top_symbols(engine: AsyncEngine, query: TopSymbolsQuery, now: datetime) -> list[SymbolReport]:
    """The symbols with the most records, in descending order. `executions` also counts running and skipped runs."""
    successful = sa.func.count().filter(_logs.status == RunStatus.SUCCESS).label("successful")
    failed = sa.func.count().filter(_logs.status == RunStatus.FAILED).label("failed")
    report = (
        sa.select(
            _logs.symbol,
            sa.func.count().label("executions"),
            _records,
            _average_duration,
            successful,
            failed,
        )
        .where(_logs.job_type == JobType.DATA_COLLECTION, _logs.started_at >= now - timedelta(hours=query.hours))
        .group_by(_logs.symbol)
        .order_by(_records.desc(), _logs.symbol)
        .limit(query.limit)
    )
    return [
        SymbolReport(
            symbol=row.symbol,
            executions=row.executions,
            total_records=row.total_records,
            avg_duration=row.avg_duration,
            success_rate=success_rate(row.successful, row.failed),
        )
        for row in await _rows(engine, report)
    ]


async def exchanges(engine: AsyncEngine, query: ExchangesQuery, now: datetime) -> list[ExchangeReport]:
    """One report per exchange, in order of name. Only finished runs are counted: these are the runs with a duration."""
    since = None if query.hours is None else now - timedelta(hours=query.hours)
    return [
        ExchangeReport(
            exchange=row.exchange,
            avg_duration=int(row.duration_microseconds) / (int(row.runs) * 1_000_000),
            total_records=int(row.records),
        )
        for row in await _rows(engine, exchange_totals(since, JobType.DATA_COLLECTION))
    ]


async def recent_failures(engine: AsyncEngine, query: FailuresQuery, now: datetime) -> Page[ExecutionLog]:
    """Raises `InvalidInput`."""
    failed = [_logs.status == RunStatus.FAILED, _logs.started_at >= now - timedelta(hours=query.hours)]
    async with reading(engine) as connection:
        return (await page_of(connection, FAILURES, query, failed)).map(ExecutionLog.model_validate)


async def _rows(engine: AsyncEngine, report: sa.Select[Any]) -> list[sa.Row[Any]]:
    async with reading(engine) as connection:
        return list((await connection.execute(report)).all())
