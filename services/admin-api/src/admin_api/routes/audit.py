"""Who did what, for admins."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from admin_api.access.audit_entries import AuditFilters, page_of_entries
from admin_api.access.schemas import AuditEntry
from admin_api.actors import Role
from admin_api.routes.paging import PAGE_HEADERS, send
from admin_api.routes.shared import PREFIX, EngineDep, declared_token, needs, problems

router = APIRouter(prefix=PREFIX, tags=["access"], dependencies=[declared_token, needs(Role.ADMIN)])


@router.get(
    "/audit-log",
    responses={200: {"headers": PAGE_HEADERS}, **problems(422)},
    summary="Who did what, latest first",
)
async def list_audit_log(
    engine: EngineDep, filters: Annotated[AuditFilters, Query()], request: Request, response: Response
) -> list[AuditEntry]:
    """One entry per change, written with it, and one per request that was refused for its caller or for a stale
    precondition. Entries are never changed or removed.
    """
    return send(await page_of_entries(engine, filters), request, response)
