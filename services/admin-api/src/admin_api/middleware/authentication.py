"""Authentication of each request, before any other part of the application reads it."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api.auth.assembly import AuthComponents
from admin_api.auth.client_addresses import address_of
from admin_api.auth.identity import NotAdmitted, TooManyFailures, Unauthorized
from admin_api.auth.refusal_audit import refused_request_of
from admin_api.auth.required_roles import is_public
from admin_api.http.errors import ApiError
from admin_api.http.problems import response_of
from admin_api.http.request_ids import current_request_id
from admin_api.metrics import Metrics
from admin_api.writes.actors import Actor, Role

_RECORDED: Final = {HTTPStatus.FORBIDDEN: "role", HTTPStatus.PRECONDITION_FAILED: "precondition"}
"""The statuses of refusals by routes that are audited. Other 4xx responses mean that the request was malformed, not
forbidden.
"""


class AuthenticationMiddleware:
    """Authenticates each request. This is middleware and not a dependency of each route. So new routes are protected by
    default, and the responses to a caller without credentials show neither the existing paths nor the invalid parts of
    a body.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        auth: AuthComponents,
        metrics: Metrics,
        routes: Sequence[BaseRoute] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._authenticator = auth.authenticator
        self._refusals = auth.refusals
        self._logins = metrics.logins
        self._routes = routes
        self._clock, self._monotonic = clock, monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_public(scope["path"]):
            await self._app(scope, receive, send)
            return
        now = self._clock()
        try:
            actor = await self._authenticator.authenticate(scope, now, self._monotonic())
        except ApiError as refusal:
            await response_of(refusal, scope["path"])(scope, receive, send)
            await self._record_failure(scope, refusal, now)
            return
        self._logins.labels(actor.kind, "admitted").inc()
        scope.setdefault("state", {})["actor"] = actor
        status = 0

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._app(scope, receive, note_status)
        if status in _RECORDED:
            reason = _RECORDED[HTTPStatus(status)]
            await self._record(actor, scope, now, status, reason)

    async def _record_failure(self, scope: Scope, refusal: ApiError, now: datetime) -> None:
        """Counts the refusal. Also audits it if the request had a credential and the address is not throttled."""
        if isinstance(refusal, TooManyFailures):
            self._logins.labels("unknown", "throttled").inc()
            return
        if not isinstance(refusal, (Unauthorized, NotAdmitted)):
            self._logins.labels("unknown", "unavailable").inc()
            return
        identity = refusal.identity
        self._logins.labels(identity.kind if identity is not None else "unknown", refusal.reason).inc()
        if refusal.reason == "missing":
            return
        actor = Actor(
            kind=identity.kind if identity is not None else "anonymous",
            name=identity.name if identity is not None else "anonymous",
            role=identity.role if identity is not None else Role.VIEWER,
            token_id=identity.token_id if identity is not None else None,
            subject=identity.subject if identity is not None else None,
            request_id=current_request_id() or "",
            address=address_of(scope),
        )
        await self._record(actor, scope, now, refusal.status, refusal.reason)

    async def _record(self, actor: Actor, scope: Scope, now: datetime, status: int, reason: str) -> None:
        await self._refusals.record(
            actor,
            refused_request_of(scope, self._routes),
            now,
            monotonic=self._monotonic(),
            status=status,
            reason=reason,
        )
