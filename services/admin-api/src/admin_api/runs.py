"""Reading the run log: lists, single runs, statistics, and the overview. Log-writer writes what is read here."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.database import transaction
from admin_api.errors import FieldError, InvalidInput, NotFound
from admin_api.fields import MAX_SKIP, FilterText, QueryInstant, RowId
from admin_api.schemas import ExecutionLog, Stats, Status
from contracts.vocabulary import RunStatus, job_name
from store.tables import configs, execution_logs, scheduled_jobs

_STATUS_HOURS = 24
_STATUS_RUNS = 10
_shown = [execution_logs.c[name] for name in ExecutionLog.model_fields]


class RunFilters(BaseModel):
    """The query of the list of runs. Unknown parameters are refused: a misspelt filter must not answer everything."""

    model_config = ConfigDict(extra="forbid")

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
        default=None, description="Runs that started before this; without a zone it is UTC."
    )
    skip: int = Field(default=0, ge=0, le=MAX_SKIP)
    limit: int = Field(default=100, ge=1, le=1000)

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


async def page_of_runs(engine: AsyncEngine, filters: RunFilters) -> tuple[list[ExecutionLog], int]:
    """The latest first, and how many the filters match in all. Raises `InvalidInput`."""
    if filters.start_date is not None and filters.end_date is not None and filters.start_date >= filters.end_date:
        raise InvalidInput.of([FieldError("#/start_date", "must be before end_date", where="query")])
    matches = filters.conditions()
    async with transaction(engine) as connection:
        runs = await _latest(connection, matches, skip=filters.skip, limit=filters.limit)
        total = await connection.scalar(sa.select(sa.func.count()).select_from(execution_logs).where(*matches))
    return runs, total or 0


async def one_run(engine: AsyncEngine, log_id: int) -> ExecutionLog:
    """Raises `NotFound`."""
    async with transaction(engine) as connection:
        row = (await connection.execute(sa.select(*_shown).where(execution_logs.c.id == log_id))).one_or_none()
    if row is None:
        raise NotFound(f"There is no execution log {log_id}; it may be past the retention of logs.")
    return ExecutionLog.model_validate(row)


async def stats_of(engine: AsyncEngine, *, since: datetime, job_type: str | None) -> Stats:
    """Over the runs that started at or after `since`."""
    async with transaction(engine) as connection:
        return await _stats(connection, since, job_type)


async def overview(engine: AsyncEngine, now: datetime) -> Status:
    """Configs, jobs, the latest runs and the last day's statistics."""
    count = sa.func.count
    async with transaction(engine) as connection:
        total, enabled = (
            await connection.execute(sa.select(count(), count().filter(configs.c.enabled)).select_from(configs))
        ).one()
        active = await connection.scalar(sa.select(count()).select_from(scheduled_jobs).where(scheduled_jobs.c.active))
        return Status(
            total_configs=total,
            enabled_configs=enabled,
            disabled_configs=total - enabled,
            active_jobs=active or 0,
            recent_executions=await _latest(connection, [], skip=0, limit=_STATUS_RUNS),
            stats=await _stats(connection, now - timedelta(hours=_STATUS_HOURS), None),
        )


def success_rate(successful: int, failed: int) -> float:
    """Percent with two decimals, of the runs that have an outcome; 0 when there are none."""
    finished = successful + failed
    return round(successful / finished * 100, 2) if finished else 0.0


async def _latest(
    connection: AsyncConnection, matches: list[sa.ColumnElement[bool]], *, skip: int, limit: int
) -> list[ExecutionLog]:
    newest_first = (execution_logs.c.started_at.desc(), execution_logs.c.id.desc())
    query = sa.select(*_shown).where(*matches).order_by(*newest_first).offset(skip).limit(limit)
    return [ExecutionLog.model_validate(row) for row in (await connection.execute(query)).all()]


async def _stats(connection: AsyncConnection, since: datetime, job_type: str | None) -> Stats:
    logs = execution_logs.c
    with_outcome = logs.status.in_([RunStatus.SUCCESS, RunStatus.FAILED])

    def runs_with(status: RunStatus) -> sa.ColumnElement[Any]:
        return sa.func.count().filter(logs.status == status)

    query = sa.select(
        sa.func.count().label("total"),
        runs_with(RunStatus.SUCCESS).label("successful"),
        runs_with(RunStatus.FAILED).label("failed"),
        runs_with(RunStatus.RUNNING).label("running"),
        runs_with(RunStatus.SKIPPED).label("skipped"),
        sa.func.avg(logs.duration_seconds).filter(with_outcome).label("average_duration"),
        sa.func.coalesce(sa.func.sum(logs.records_collected), 0).label("records"),
        sa.func.max(logs.started_at).label("last"),
    ).where(logs.started_at >= since, *([logs.job_type == job_type] if job_type is not None else []))
    row = (await connection.execute(query)).one()
    return Stats(
        total_executions=row.total,
        successful_executions=row.successful,
        failed_executions=row.failed,
        running_executions=row.running,
        success_rate=success_rate(row.successful, row.failed),
        average_duration_seconds=None if row.average_duration is None else round(row.average_duration, 3),
        total_records_collected=row.records,
        last_execution=row.last,
        skipped_executions=row.skipped,
    )
