"""Runs: the execution logs, statistics, and the overview."""

from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from admin_api.http.input_types import FilterText, Input, QueryInteger
from admin_api.http.pagination import PAGE_HEADERS, send
from admin_api.routes.api_route import ExpensiveRoute
from admin_api.routes.dependencies import PREFIX, EngineDep, LogId, Now, declared_token, needs, problems
from admin_api.runs import queries, statistics
from admin_api.runs.export import ExportQuery, export_runs
from admin_api.runs.schemas import ExecutionLog, Stats, Status
from admin_api.writes.actors import Role

router = APIRouter(
    prefix=PREFIX, tags=["runs"], dependencies=[declared_token, needs(Role.VIEWER)], route_class=ExpensiveRoute
)

_CSV: Final[dict[str, Any]] = {
    "description": "A header line, then one line per run.",
    "headers": {"Content-Disposition": {"description": "A name for the file.", "schema": {"type": "string"}}},
    "content": {"text/csv": {"schema": {"type": "string"}}},
}


class StatsFilters(Input):
    """The query of the statistics. Unknown parameters are refused."""

    job_type: FilterText | None = Field(default=None, examples=["data_collection"])
    hours: QueryInteger = Field(
        default=24, ge=1, le=720, description="Only runs that started in this number of hours before now."
    )


@router.get(
    "/execution-logs", responses={200: {"headers": PAGE_HEADERS}, **problems(422)}, summary="List runs, latest first"
)
async def list_execution_logs(
    engine: EngineDep, filters: Annotated[queries.RunFilters, Query()], request: Request, response: Response
) -> list[ExecutionLog]:
    """One page. The Link header contains the next one. Every page is equally fast."""
    return send(await queries.page_of_runs(engine, filters), request, response)


@router.get(
    "/execution-logs/export",
    response_class=Response,
    responses={200: _CSV, **problems(422)},
    summary="Runs as CSV, latest first",
)
async def export_execution_logs(engine: EngineDep, query: Annotated[ExportQuery, Query()]) -> StreamingResponse:
    """The filters are the same as for the list of runs. The response is sent in parts while the rows are read. A text
    that a spreadsheet would execute as a formula begins with an apostrophe.
    """
    headers = {"Content-Disposition": 'attachment; filename="candlekeep-runs.csv"'}
    return StreamingResponse(await export_runs(engine, query), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/execution-logs/{log_id}", responses=problems(404, 422), summary="One run")
async def get_execution_log(log_id: LogId, engine: EngineDep) -> ExecutionLog:
    return await queries.one_run(engine, log_id)


@router.get("/stats", responses=problems(422), summary="Statistics of runs")
async def get_stats(engine: EngineDep, filters: Annotated[StatsFilters, Query()], now: Now) -> Stats:
    return await statistics.stats_of(engine, since=now - timedelta(hours=filters.hours), job_type=filters.job_type)


@router.get("/status", responses=problems(), summary="Overview of the system")
async def get_status(engine: EngineDep, now: Now) -> Status:
    return await statistics.overview(engine, now)
