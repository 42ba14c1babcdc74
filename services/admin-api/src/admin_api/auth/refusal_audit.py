"""Writes refused requests to the audit log, after the response is sent and in a separate transaction."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from admin_api.auth.refusal_budget import LeftOut, LeftOutRefusals, RefusalBudget, RefusalKind
from admin_api.http.recorded_paths import recorded_path
from admin_api.metrics import Metrics
from admin_api.writes import audit_log
from admin_api.writes.actors import Actor
from admin_api.writes.audit_log import AuditRecord
from admin_api.writes.transactions import DATABASE_PROBLEMS, transaction
from runtime.lifecycle.background import Background
from runtime.logs import log
from runtime.waiting import wait_for_event

_TIMEOUT_SECONDS: Final = 2.0
_SUMMARY_INTERVAL_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class RefusedRequest:
    """A refused request. All texts are shortened and escaped, so they are safe to log and to store."""

    action: str
    object_type: str
    object_id: str | None
    method: str
    path: str


class _Entry(NamedTuple):
    actor: Actor
    record: AuditRecord
    at: datetime


class _EntryWriter:
    """Writes entries in one transaction at a time; each transaction writes all waiting entries.

    So a burst of refusals uses one connection.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._waiting: list[tuple[_Entry, asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, entry: _Entry) -> bool:
        """Whether the entry is in the audit log."""
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="audit entries of refusals")
        return await written

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                succeeded = await self._write_batch([entry for entry, _ in batch])
                for _, written in batch:
                    if not written.done():  # the request of this future may have been cancelled
                        written.set_result(succeeded)
        finally:
            self._writing = None

    async def _write_batch(self, entries: Sequence[_Entry]) -> bool:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS), transaction(self._engine) as connection:
                for actor, record, at in entries:
                    await audit_log.record_many(connection, actor, at, [record], outcome="refused")
        except (*DATABASE_PROBLEMS, TimeoutError) as error:
            log.warning(
                "Failed to confirm that refused requests are in the audit log; they may be only in this log",
                action="refusal_audit_failed",
                entries=len(entries),
                error=repr(error),
            )
            return False
        return True


class RefusalAudit:
    """Logs every refusal. A refusal gets an audit entry if the budget allows it. One entry per caller and minute
    summarises the refusals that were left out or lost.

    The metric `refusals_recorded` counts every refusal by its result: written, suppressed by the budget, or lost.
    """

    def __init__(self, engine: AsyncEngine, metrics: Metrics) -> None:
        self._writer = _EntryWriter(engine)
        self._recorded = metrics.refusals_recorded
        self._budget = RefusalBudget()
        self._left_out = LeftOutRefusals()
        self._stopping = asyncio.Event()

    def background(self) -> Background:
        return Background("summaries of refusals", self._run, self._stop)

    async def record(
        self, actor: Actor, attempt: RefusedRequest, now: datetime, *, monotonic: float, status: int, reason: str
    ) -> None:
        """Never raises a database error. `monotonic` is the monotonic clock in seconds, for the budget."""
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
        kind = RefusalKind(attempt.action, status, reason)
        if not self._budget.allows(actor, kind, monotonic):
            self._left_out.add(actor, kind, now)
            self._recorded.labels("suppressed").inc()
            return
        after = {"method": attempt.method, "path": attempt.path, "status": status, "reason": reason}
        entry = AuditRecord(
            action=attempt.action, object_type=attempt.object_type, object_id=attempt.object_id, after=after
        )
        if await self._writer.write(_Entry(actor, entry, now)):
            self._recorded.labels("written").inc()
        else:
            self._left_out.add(actor, kind, now)
            self._recorded.labels("lost").inc()

    async def summarise(self, now: datetime) -> None:
        """Write one entry per caller about the refusals that were left out. If a write fails, its refusals stay for the
        next call.
        """
        await asyncio.gather(*(self._summarise(each, now) for each in self._left_out.take()))

    async def _summarise(self, left_out: LeftOut, now: datetime) -> None:
        summary = AuditRecord(
            action="refusal.summarise", object_type="refusal", object_id=None, after=left_out.content()
        )
        if not await self._writer.write(_Entry(left_out.actor, summary, now)):
            self._left_out.put_back(left_out)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            await wait_for_event(self._stopping, _SUMMARY_INTERVAL_SECONDS)
            await self.summarise(datetime.now(UTC))

    async def _stop(self) -> None:
        self._stopping.set()


def refused_request_of(scope: Scope, routes: Sequence[BaseRoute] = ()) -> RefusedRequest:
    """The refused request for the audit log. Its action has the same name as that of a successful request:
    `update_config` becomes `config.update`.

    A bulk operation has the same name as the operation on one config. `routes` are the application's routes. With them,
    the entry names the route even if the request was refused before it reached the route.
    """
    if "route" not in scope:
        scope = {**scope, **_route_of(scope, routes)}
    operation: str | None = getattr(scope.get("route"), "name", None)
    verb, _, subject = (operation or "use_credential").removeprefix("bulk_").partition("_")
    subject = subject.removesuffix("s") if subject != "status" else subject
    ids = [str(value) for name, value in scope.get("path_params", {}).items() if name.endswith("_id")]
    return RefusedRequest(
        action=f"{subject or 'request'}.{verb}",
        object_type=subject or "request",
        object_id=ids[0][:40] if ids and ids[0].isascii() and ids[0].isalnum() else None,
        method=scope["method"][:10],
        path=recorded_path(scope),
    )


def _route_of(scope: Scope, routes: Sequence[BaseRoute]) -> Mapping[str, Any]:
    """The route of the request and its path parameters, as the router would add them to the scope."""
    for route in routes:
        match, found = route.matches(scope)
        if match is Match.FULL:
            return {**found, "route": route}
    return {}
