"""The way in: nothing else looks at a request before its caller is known."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api.access.addresses import address_of
from admin_api.access.assembly import Access
from admin_api.access.identity import NotAdmitted, TooManyFailures, Unauthorized
from admin_api.access.public import is_public
from admin_api.access.refusal_log import attempt_of
from admin_api.actors import Actor, Role
from admin_api.errors import ApiError
from admin_api.metrics import Metrics
from admin_api.problems import response_of
from admin_api.request_ids import current_request_id

_RECORDED: Final = {HTTPStatus.FORBIDDEN: "role", HTTPStatus.PRECONDITION_FAILED: "precondition"}
"""Refusals by a route that are audited. Faults of form (4xx otherwise) tried nothing that was not allowed."""


class Gate:
    """Middleware rather than a dependency of each route: routes added later are closed by default, and an
    unauthenticated caller learns neither which paths exist nor what is wrong with a body.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        metrics: Metrics,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._doorman = access.doorman
        self._refusals = access.refusals
        self._logins = metrics.logins
        self._clock, self._monotonic = clock, monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_public(scope["path"]):
            await self._app(scope, receive, send)
            return
        now = self._clock()
        try:
            actor = await self._doorman.admit(scope, now, self._monotonic())
        except ApiError as refusal:
            await response_of(refusal, scope["path"])(scope, receive, send)
            await self._turned_away(scope, refusal, now)
            return
        self._logins.labels(actor.kind, "admitted").inc()
        scope.setdefault("state", {})["actor"] = actor
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._app(scope, receive, watch)
        if status in _RECORDED:
            reason = _RECORDED[HTTPStatus(status)]
            await self._record(actor, scope, now, status, reason)

    async def _turned_away(self, scope: Scope, refusal: ApiError, now: datetime) -> None:
        """Counted always; in the audit log where somebody came with a credential, unless so many did that they wait."""
        if isinstance(refusal, TooManyFailures):
            self._logins.labels("unknown", "throttled").inc()
            return
        if not isinstance(refusal, (Unauthorized, NotAdmitted)):
            self._logins.labels("unknown", "unavailable").inc()
            return
        whose = refusal.whose
        self._logins.labels(whose.kind if whose is not None else "unknown", refusal.reason).inc()
        if refusal.reason == "missing":
            return
        actor = Actor(
            kind=whose.kind if whose is not None else "anonymous",
            name=whose.name if whose is not None else "anonymous",
            role=whose.role if whose is not None else Role.VIEWER,
            token_id=whose.token_id if whose is not None else None,
            subject=whose.subject if whose is not None else None,
            request_id=current_request_id() or "",
            address=address_of(scope),
        )
        await self._record(actor, scope, now, refusal.status, refusal.reason)

    async def _record(self, actor: Actor, scope: Scope, now: datetime, status: int, reason: str) -> None:
        await self._refusals.record(
            actor, attempt_of(scope), now, monotonic=self._monotonic(), status=status, reason=reason
        )
