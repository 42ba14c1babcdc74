"""The list of audit entries: its filters and its query."""

from typing import Final, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.auth.schemas import AuditEntry
from admin_api.http.errors import FieldError, InvalidInput
from admin_api.http.input_types import FilterText, QueryInstant, QueryInteger
from admin_api.http.pagination import Listing, Page, PageQuery, page_of
from admin_api.writes.transactions import reading
from store.tables import audit_log

_ENTRIES: Final = Listing(
    name="audit-log",
    shown=[audit_log.c[name] for name in AuditEntry.model_fields],
    orders={"at": (audit_log.c.at, audit_log.c.id)},
)


class AuditFilters(PageQuery):
    """The query parameters of the audit log."""

    actor: FilterText | None = Field(default=None, description="The actor's name.", examples=["grafana"])
    action: FilterText | None = Field(default=None, examples=["config.update"])
    object_type: FilterText | None = Field(default=None, examples=["config"])
    object_id: FilterText | None = Field(default=None, examples=["1"])
    outcome: Literal["done", "refused"] | None = None
    request_id: FilterText | None = Field(
        default=None, description="The request id, from the response header X-Request-ID."
    )
    start_date: QueryInstant | None = Field(
        default=None, description="Entries at or after this time; UTC if it has no time zone."
    )
    end_date: QueryInstant | None = Field(
        default=None,
        description="Entries before this time; UTC if it has no time zone.",
        examples=["2025-01-16T10:00:00Z"],
    )
    limit: QueryInteger = Field(default=100, ge=1, le=1000)
    sort: Literal["-at", "at"] = Field(default="-at", description="`-at`: latest first; `at`: oldest first.")

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """The filters as SQL conditions. Raises `InvalidInput`."""
        if self.start_date is not None and self.end_date is not None and self.start_date >= self.end_date:
            raise InvalidInput.of([FieldError("#/start_date", "must be before end_date", where="query")])
        equal = ("actor", "action", "object_type", "object_id", "outcome", "request_id")
        matches = [audit_log.c[name] == value for name in equal if (value := getattr(self, name)) is not None]
        if self.start_date is not None:
            matches.append(audit_log.c.at >= self.start_date)
        if self.end_date is not None:
            matches.append(audit_log.c.at < self.end_date)
        return matches


async def page_of_entries(engine: AsyncEngine, filters: AuditFilters) -> Page[AuditEntry]:
    """Raises `InvalidInput`."""
    async with reading(engine) as connection:
        return (await page_of(connection, _ENTRIES, filters, filters.conditions())).map(AuditEntry.model_validate)
