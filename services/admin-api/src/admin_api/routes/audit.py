"""Who did what, for admins."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from admin_api.access.audit_entries import AuditFilters, page_of_entries
from admin_api.access.schemas import AuditEntry
from admin_api.actors import Role
from admin_api.routes.shared import PREFIX, TOTAL_HEADER, EngineDep, declared_token, needs, problems

router = APIRouter(prefix=PREFIX, tags=["access"], dependencies=[declared_token, needs(Role.ADMIN)])


@router.get(
    "/audit-log",
    responses={200: {"headers": TOTAL_HEADER}, **problems(422)},
    summary="Who did what, latest first",
)
async def list_audit_log(
    engine: EngineDep, filters: Annotated[AuditFilters, Query()], response: Response
) -> list[AuditEntry]:
    """One entry per change, written with it, and one per request that was refused for its caller or for a stale
    precondition. Entries are never changed or removed.
    """
    page, total = await page_of_entries(engine, filters)
    response.headers["X-Total-Count"] = str(total)
    return page
