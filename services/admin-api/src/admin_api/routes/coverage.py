"""Coverage: the verified spans and the open holes of a series, and its rejected rows."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from admin_api.coverage.rejected import RejectedCandle, RejectedFilters, page_of_rejected
from admin_api.coverage.report import coverage_of
from admin_api.coverage.schemas import Coverage, CoverageQuery
from admin_api.http.pagination import LINK_HEADER, PAGE_HEADERS, links, send
from admin_api.routes.api_route import ExpensiveRoute
from admin_api.routes.dependencies import PREFIX, EngineDep, Now, declared_token, needs, problems
from admin_api.writes.actors import Role

_REJECTED: Final = "/rejected-candles"

router = APIRouter(
    prefix=PREFIX, tags=["coverage"], dependencies=[declared_token, needs(Role.VIEWER)], route_class=ExpensiveRoute
)


@router.get(
    "/coverage",
    responses={200: {"headers": LINK_HEADER}, **problems(404, 422)},
    summary="The verified spans and the open holes in a range of one series",
)
async def get_coverage(
    engine: EngineDep, query: Annotated[CoverageQuery, Query()], now: Now, request: Request, response: Response
) -> Coverage:
    """`whole` is 1 if every candle that exists in the range is stored. The Link header contains the next page."""
    coverage, next_cursor = await coverage_of(engine, query, now, PREFIX + _REJECTED)
    response.headers["Link"] = links(request, next_cursor)
    return coverage


@router.get(
    _REJECTED,
    responses={200: {"headers": PAGE_HEADERS}, **problems(404, 422)},
    summary="List the rejected rows of one series",
)
async def list_rejected_candles(
    engine: EngineDep, filters: Annotated[RejectedFilters, Query()], request: Request, response: Response
) -> list[RejectedCandle]:
    """The exchange repeated these rows. They are not stored as candles, and their periods are open holes."""
    return send(await page_of_rejected(engine, filters), request, response)
