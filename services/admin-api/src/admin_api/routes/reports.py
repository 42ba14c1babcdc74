"""Reports on the run log, and on the next losses."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from admin_api.configs.selection_report import ConfigSelection, SelectionQuery, selection_of
from admin_api.coverage.next_losses import LossesQuery, SeriesLoss, next_losses_of_configs
from admin_api.http.pagination import PAGE_HEADERS, send
from admin_api.reports.exchange_use import ExchangeUse, ExchangeUseQuery, use_of_exchanges
from admin_api.routes.api_route import ExpensiveRoute
from admin_api.routes.dependencies import PREFIX, EngineDep, Now, declared_token, needs, problems
from admin_api.runs import reports
from admin_api.runs.activity import ActivityQuery, activity_of
from admin_api.runs.history import HistoryQuery, history
from admin_api.runs.schemas import ConfigActivity, ExchangeReport, ExecutionLog, RunsOfSpan, SymbolReport
from admin_api.writes.actors import Role

router = APIRouter(
    prefix=f"{PREFIX}/reports",
    tags=["reports"],
    dependencies=[declared_token, needs(Role.VIEWER)],
    route_class=ExpensiveRoute,
)


@router.get("/top-symbols", responses=problems(422), summary="The symbols with the most records")
async def report_top_symbols(
    engine: EngineDep, query: Annotated[reports.TopSymbolsQuery, Query()], now: Now
) -> list[SymbolReport]:
    """Most records first. `success_rate` has the same meaning as in `/stats`: skipped and running runs do not count."""
    return await reports.top_symbols(engine, query, now)


@router.get(
    "/recent-failures",
    responses={200: {"headers": PAGE_HEADERS}, **problems(422)},
    summary="Recent failed runs, latest first",
)
async def report_recent_failures(
    engine: EngineDep,
    query: Annotated[reports.FailuresQuery, Query()],
    now: Now,
    request: Request,
    response: Response,
) -> list[ExecutionLog]:
    """One page. The Link header contains the next one."""
    return send(await reports.recent_failures(engine, query, now), request, response)


@router.get("/exchanges", responses=problems(422), summary="Statistics of each exchange")
async def report_exchanges(
    engine: EngineDep, query: Annotated[reports.ExchangesQuery, Query()], now: Now
) -> list[ExchangeReport]:
    """The report includes only finished runs.

    The report reads hourly counts, so it is fast and exact, also without `hours`.
    """
    return await reports.exchanges(engine, query, now)


@router.get("/exchange-use", responses=problems(422), summary="Success and rate use of each exchange")
async def report_exchange_use(
    engine: EngineDep, query: Annotated[ExchangeUseQuery, Query()], now: Now
) -> list[ExchangeUse]:
    """Each exchange with an enabled config or with finished runs, in order of name. The rate use is computed from the
    current configs. Backfills and manual runs are not included.
    """
    return await use_of_exchanges(engine, query, now)


@router.get("/config-activity", responses=problems(422), summary="The last runs and the next run of some configs")
async def report_config_activity(engine: EngineDep, query: Annotated[ActivityQuery, Query()]) -> list[ConfigActivity]:
    """One entry per requested config, in the order of the request. An unknown config has no runs."""
    return await activity_of(engine, query)


@router.get("/config-selection", responses=problems(422), summary="How many configs match, and what they collect")
async def report_config_selection(engine: EngineDep, query: Annotated[SelectionQuery, Query()]) -> ConfigSelection:
    """Disabled configs count, unless `enabled` is given. Without parameters, the report is about all configs."""
    return await selection_of(engine, query)


@router.get("/history", responses=problems(422), summary="The runs by hour or day")
async def report_history(engine: EngineDep, query: Annotated[HistoryQuery, Query()], now: Now) -> list[RunsOfSpan]:
    """Hours and days are listed from the oldest to the newest, including those without runs. The first entry covers a
    whole hour or day, so it may begin more than `hours` ago. The report reads hourly counts, so it is fast and exact,
    except for the percentiles.
    """
    return await history(engine, query, now)


@router.get("/next-losses", responses=problems(422), summary="The series that lose candles next")
async def report_next_losses(engine: EngineDep, query: Annotated[LossesQuery, Query()], now: Now) -> list[SeriesLoss]:
    """The list contains series of enabled configs, on exchanges that offer only the newest candles. Those at risk come
    first, then those with the earliest loss. Empty: no exchange limits them, or nothing is missing.
    """
    return await next_losses_of_configs(engine, query, now)
