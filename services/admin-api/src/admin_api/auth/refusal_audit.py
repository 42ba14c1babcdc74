"""Writes refused requests to the audit log, after the response is sent and in a separate transaction."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import Scope

from admin_api.auth.client_addresses import rate_limit_key
from admin_api.http.request_cost import TokenBuckets
from admin_api.metrics import Metrics
from admin_api.writes import audit_log
from admin_api.writes.actors import Actor
from admin_api.writes.transactions import DATABASE_PROBLEMS, transaction
from runtime.logs import log

_TIMEOUT_SECONDS: Final = 2.0
_BURST: Final = 60
_PER_MINUTE: Final = 30
_PATH_LENGTH: Final = 200


@dataclass(frozen=True, kw_only=True)
class RefusedRequest:
    """A refused request. All texts are shortened and escaped, so they are safe to log and to store."""

    action: str
    object_type: str
    object_id: str | None
    method: str
    path: str


class RefusalAudit:
    """Limits the rows per client address, so that repeated attempts cannot fill the disk.

    The metric `refusals_recorded` counts every refusal by its result: written, suppressed by the limit, or lost.
    """

    def __init__(self, engine: AsyncEngine, metrics: Metrics) -> None:
        self._engine = engine
        self._recorded = metrics.refusals_recorded
        self._row_limit = TokenBuckets(capacity=_BURST, per_minute=_PER_MINUTE)

    async def record(
        self, actor: Actor, attempt: RefusedRequest, now: datetime, *, monotonic: float, status: int, reason: str
    ) -> None:
        """Never raises a database error. `monotonic` is the monotonic clock in seconds, for the limit of rows."""
        if not self._row_limit.take(rate_limit_key(actor.address), monotonic):
            self._recorded.labels("suppressed").inc()
            return
        log.warning(
            "Refused a request",
            action="refused",
            actor=actor.name,
            address=actor.address,
            attempted=attempt.action,
            path=attempt.path,
            status=status,
            reason=reason,
        )
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS), transaction(self._engine) as connection:
                await audit_log.record(
                    connection,
                    actor,
                    now,
                    action=attempt.action,
                    object_type=attempt.object_type,
                    object_id=attempt.object_id,
                    outcome="refused",
                    after={"method": attempt.method, "path": attempt.path, "status": status, "reason": reason},
                )
        except (*DATABASE_PROBLEMS, TimeoutError) as error:
            self._recorded.labels("lost").inc()
            log.warning(
                "Failed to confirm that a refused request is in the audit log; it may be only in this log",
                action="refusal_audit_failed",
                error=repr(error),
            )
        else:
            self._recorded.labels("written").inc()


def refused_request_of(scope: Scope) -> RefusedRequest:
    """Names the action like the audit entry of a successful request: `update_config` becomes `config.update`.

    A bulk operation has the same name as the operation on one config.
    """
    operation: str | None = getattr(scope.get("route"), "name", None)
    verb, _, subject = (operation or "use_credential").removeprefix("bulk_").partition("_")
    subject = subject.removesuffix("s") if subject != "status" else subject
    ids = [str(value) for name, value in scope.get("path_params", {}).items() if name.endswith("_id")]
    return RefusedRequest(
        action=f"{subject or 'request'}.{verb}",
        object_type=subject or "request",
        object_id=ids[0][:40] if ids and ids[0].isascii() and ids[0].isalnum() else None,
        method=scope["method"][:10],
        path=quote(scope["path"])[:_PATH_LENGTH],
    )
