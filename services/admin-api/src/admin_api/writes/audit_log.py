"""Writes the audit log: one row per change, in the transaction of the change. Rows are never changed or deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.writes.actors import Actor
from store.tables import audit_log


@dataclass(frozen=True, kw_only=True)
class AuditRecord:
    """A change of one object.

    `action` is the object type and the operation, such as config.create. `before` and `after` are the object as JSON,
    without secrets.
    """

    action: str
    object_type: str
    object_id: str | None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


async def record(  # noqa: PLR0913 -- the columns of a row
    connection: AsyncConnection,
    actor: Actor,
    at: datetime,
    *,
    action: str,
    object_type: str,
    object_id: str | None,
    outcome: Literal["done", "refused"] = "done",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add one row to the open transaction."""
    record = AuditRecord(action=action, object_type=object_type, object_id=object_id, before=before, after=after)
    await record_many(connection, actor, at, [record], outcome=outcome)


async def record_many(
    connection: AsyncConnection,
    actor: Actor,
    at: datetime,
    records: Sequence[AuditRecord],
    *,
    outcome: Literal["done", "refused"] = "done",
) -> None:
    """Add one row per record to the open transaction, in order."""
    common = {
        "at": at,
        "actor_kind": actor.kind,
        "actor": actor.name,
        "token_id": actor.token_id,
        "subject": actor.subject,
        "address": actor.address,
        "request_id": actor.request_id,
        "outcome": outcome,
    }
    rows = [
        {
            **common,
            "action": record.action,
            "object_type": record.object_type,
            "object_id": record.object_id,
            "before": record.before,
            "after": record.after,
        }
        for record in records
    ]
    if rows:
        await connection.execute(sa.insert(audit_log), rows)
