"""The audit log: one row per mutation, in the mutation's own transaction. Rows are only ever added."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.actors import Actor
from store.tables import audit_log


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
    """Add one row to the open transaction. `action` is object and verb, such as config.create; `before` and `after` are
    the object as JSON, without secrets.
    """
    row = {
        "at": at,
        "actor_kind": actor.kind,
        "actor": actor.name,
        "token_id": actor.token_id,
        "address": actor.address,
        "request_id": actor.request_id,
        "action": action,
        "object_type": object_type,
        "object_id": object_id,
        "outcome": outcome,
        "before": before,
        "after": after,
    }
    await connection.execute(sa.insert(audit_log).values(row))
