"""The audit log, for admins."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from admin_api.auth.audit_queries import AuditFilters, page_of_entries
from admin_api.auth.schemas import AuditEntry
from admin_api.http.pagination import PAGE_HEADERS, send
from admin_api.routes.api_route import ExpensiveRoute
from admin_api.routes.dependencies import PREFIX, EngineDep, declared_token, needs, problems
from admin_api.writes.actors import Role

router = APIRouter(
    prefix=PREFIX, tags=["access"], dependencies=[declared_token, needs(Role.ADMIN)], route_class=ExpensiveRoute
)


@router.get(
    "/audit-log",
    responses={200: {"headers": PAGE_HEADERS}, **problems(422)},
    summary="List the audit log, latest first",
)
async def list_audit_log(
    engine: EngineDep, filters: Annotated[AuditFilters, Query()], request: Request, response: Response
) -> list[AuditEntry]:
    """One entry per change, written in the same transaction, and one per request that was refused because of its caller
    or of an outdated precondition. Entries are never changed or removed.
    """
    return send(await page_of_entries(engine, filters), request, response)
