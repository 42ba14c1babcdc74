"""Incidents: silence of all symbols of an exchange at the same time."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from admin_api.http.pagination import LINK_HEADER, links
from admin_api.incidents.incident_list import Incident, IncidentFilters, incidents_of
from admin_api.routes.api_route import ExpensiveRoute
from admin_api.routes.dependencies import PREFIX, EngineDep, Now, declared_token, needs, problems
from admin_api.writes.actors import Role

router = APIRouter(
    prefix=PREFIX, tags=["coverage"], dependencies=[declared_token, needs(Role.VIEWER)], route_class=ExpensiveRoute
)


@router.get(
    "/incidents",
    responses={200: {"headers": LINK_HEADER}, **problems(422)},
    summary="List the times in which all symbols of an exchange were silent",
)
async def list_incidents(
    engine: EngineDep, filters: Annotated[IncidentFilters, Query()], now: Now, request: Request, response: Response
) -> list[Incident]:
    """One incident represents the holes of all symbols. It is an `outage` only if a witness outside the candle endpoint
    says that the exchange was closed.
    """
    incidents, next_cursor = await incidents_of(engine, filters, now)
    response.headers["Link"] = links(request, next_cursor)
    return incidents
