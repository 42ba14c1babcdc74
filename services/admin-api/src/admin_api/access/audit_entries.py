"""Reading the audit log, the latest first."""

from typing import Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.access.schemas import AuditEntry
from admin_api.database import transaction
from admin_api.errors import FieldError, InvalidInput
from admin_api.fields import MAX_SKIP, FilterText, QueryInstant
from store.tables import audit_log


class AuditFilters(BaseModel):
    """The query of the audit log. Unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid")

    actor: FilterText | None = Field(default=None, description="Its name.", examples=["grafana"])
    action: FilterText | None = Field(default=None, examples=["config.update"])
    object_type: FilterText | None = Field(default=None, examples=["config"])
    object_id: FilterText | None = Field(default=None, examples=["1"])
    outcome: Literal["done", "refused"] | None = None
    request_id: FilterText | None = Field(default=None, description="As the answer's X-Request-ID had it.")
    start_date: QueryInstant | None = Field(default=None, description="At or after this; without a zone it is UTC.")
    end_date: QueryInstant | None = Field(default=None, description="Before this; without a zone it is UTC.")
    skip: int = Field(default=0, ge=0, le=MAX_SKIP)
    limit: int = Field(default=100, ge=1, le=1000)

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """As SQL. Raises `InvalidInput`."""
        if self.start_date is not None and self.end_date is not None and self.start_date >= self.end_date:
            raise InvalidInput.of([FieldError("#/start_date", "must be before end_date", where="query")])
        equal = ("actor", "action", "object_type", "object_id", "outcome", "request_id")
        matches = [audit_log.c[name] == value for name in equal if (value := getattr(self, name)) is not None]
        if self.start_date is not None:
            matches.append(audit_log.c.at >= self.start_date)
        if self.end_date is not None:
            matches.append(audit_log.c.at < self.end_date)
        return matches


async def page_of_entries(engine: AsyncEngine, filters: AuditFilters) -> tuple[list[AuditEntry], int]:
    """And how many the filters match in all. Raises `InvalidInput`."""
    matches = filters.conditions()
    page = sa.select(audit_log).where(*matches).order_by(audit_log.c.id.desc())
    async with transaction(engine) as connection:
        rows = (await connection.execute(page.offset(filters.skip).limit(filters.limit))).all()
        total = await connection.scalar(sa.select(sa.func.count()).select_from(audit_log).where(*matches))
    return [AuditEntry.model_validate(row) for row in rows], total or 0
