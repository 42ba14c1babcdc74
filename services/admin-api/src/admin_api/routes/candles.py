"""Collected candles, and the list of series."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from admin_api.candles.chart import Chart, ChartQuery, chart_of
from admin_api.candles.queries import CandleQuery, CandleRow, read_candles, to_csv, to_json
from admin_api.candles.series import SeriesFilters, StoredSeries, page_of_series
from admin_api.http.content_negotiation import VARY, preferred
from admin_api.http.pagination import PAGE_HEADERS, send
from admin_api.routes.api_route import ExpensiveRoute
from admin_api.routes.dependencies import PREFIX, EngineDep, declared_token, needs, problems
from admin_api.writes.actors import Role

_JSON: Final = "application/json"
_CSV: Final = "text/csv"

router = APIRouter(
    prefix=PREFIX, tags=["candles"], dependencies=[declared_token, needs(Role.VIEWER)], route_class=ExpensiveRoute
)


@router.get(
    "/candles",
    summary="Candles of one series, by ascending open time",
    response_model=list[CandleRow],
    responses={200: {"content": {_CSV: {"schema": {"type": "string"}}}}, **problems(404, 422)},
)
async def get_candles(engine: EngineDep, query: Annotated[CandleQuery, Query()], request: Request) -> Response:
    """From `start` on, or the newest `limit` candles. JSON, or CSV with `format=csv` or `Accept: text/csv`."""
    rows = await read_candles(engine, query)
    accept = ",".join(request.headers.getlist("accept"))
    if query.format == "csv" or (query.format is None and preferred(accept, (_JSON, _CSV)) == _CSV):
        return Response(to_csv(rows), media_type=f"{_CSV}; charset=utf-8", headers=VARY)
    return Response(to_json(rows), media_type=_JSON, headers=VARY)


@router.get(
    "/candles/chart",
    response_model=Chart,
    responses=problems(404, 422),
    summary="A range of one series, at the resolution of a screen",
)
async def get_chart(engine: EngineDep, query: Annotated[ChartQuery, Query()]) -> Response:
    """At most `points` points. Each joins the same number of candles, so any zoom has about the same size."""
    return Response((await chart_of(engine, query)).model_dump_json(), media_type=_JSON)


@router.get("/series", responses={200: {"headers": PAGE_HEADERS}, **problems(422)}, summary="List the stored series")
async def list_series(
    engine: EngineDep, filters: Annotated[SeriesFilters, Query()], request: Request, response: Response
) -> list[StoredSeries]:
    """Each with its number of candles, the times of the first and the last, and the number of its open holes."""
    return send(await page_of_series(engine, filters), request, response)
