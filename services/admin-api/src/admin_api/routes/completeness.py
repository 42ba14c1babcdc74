"""Completeness: the headline numbers of groups of series."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from admin_api.coverage.completeness import completeness_of
from admin_api.coverage.completeness_schemas import Completeness, CompletenessQuery
from admin_api.http.pagination import LINK_HEADER, links
from admin_api.routes.api_route import ExpensiveRoute
from admin_api.routes.dependencies import PREFIX, EngineDep, Now, declared_token, needs, problems
from admin_api.writes.actors import Role

router = APIRouter(
    prefix=PREFIX, tags=["coverage"], dependencies=[declared_token, needs(Role.VIEWER)], route_class=ExpensiveRoute
)


@router.get(
    "/completeness",
    responses={200: {"headers": LINK_HEADER}, **problems(404, 422)},
    summary="How complete the data is: in total, or by exchange, config or series",
)
async def get_completeness(
    engine: EngineDep, query: Annotated[CompletenessQuery, Query()], now: Now, request: Request, response: Response
) -> list[Completeness]:
    """`whole` is 1 if every candle that exists is stored.

    The numbers are exact, and equal to the numbers of `GET /coverage`. If no series matches the filters, the list of
    groups is empty, and a total is 404.
    """
    rows, next_cursor = await completeness_of(engine, query, now)
    response.headers["Link"] = links(request, next_cursor)
    return rows
