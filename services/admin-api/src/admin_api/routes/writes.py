"""Shared parts of routes that change something: If-Match, Idempotency-Key, and the transaction of a request."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.routing import Match
from starlette.types import Scope
from typing_extensions import override

from admin_api.http import etags
from admin_api.http.errors import ApiError, FieldError, InvalidInput, OutcomeUnknown, WriteConflict
from admin_api.http.etags import EntityTags, parse_tags
from admin_api.http.request_cost import RequestCost
from admin_api.http.stored_response import StoredResponse
from admin_api.routes.api_route import ApiRoute
from admin_api.routes.dependencies import ActorDep, CostDep, EngineDep, Now
from admin_api.writes import idempotency
from admin_api.writes.actors import Actor
from admin_api.writes.idempotency import KeyedRequest, Operation, keyed_request, run_once
from admin_api.writes.unit_of_work import unit_of_work
from runtime.logs import log

_NOT_AN_ID: Final = frozenset({"apply", "bulk", "export", "preflight"})
_FINGERPRINT_HEADERS: Final = ("content-type", "if-match")

ETAG_HEADER: Final[dict[str, Any]] = {
    "ETag": {"description": "The version of the object, for If-Match.", "schema": {"type": "string"}, "example": '"3"'}
}
REPLAYED_HEADER: Final[dict[str, Any]] = {
    idempotency.REPLAYED_HEADER: {
        "description": "`true` if this is the stored response to an earlier request with the same Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}


class ConfigRoute(ApiRoute):
    """A route that does not match `/configs/export`, because "export" is not the id of a config. Otherwise other
    methods of this path would be answered with 422 instead of 405.
    """

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        if child_scope.get("path_params", {}).get("config_id") in _NOT_AN_ID:
            return Match.NONE, {}
        return match, child_scope


class WriteRequest:
    """The change of one request. `perform` runs it in a transaction, and once per Idempotency-Key if there is one."""

    def __init__(
        self, engine: AsyncEngine, actor: Actor, now: datetime, cost: RequestCost, request: KeyedRequest | None
    ) -> None:
        self._engine = engine
        self._actor = actor
        self._now = now
        self._cost = cost
        self._request = request

    async def perform(self, operation: Operation) -> Response:
        """Run the operation. If Postgres rolled it back to end a deadlock, run it once more. An operation that fails
        costs no runs.
        """
        try:
            try:
                stored = await self._attempt(operation)
            except WriteConflict:
                log.info("A transaction was rolled back because of a conflict and runs again", action="write_repeated")
                stored = await self._attempt(operation)
        except OutcomeUnknown:
            raise
        except ApiError:
            self._cost.cancel_runs()
            raise
        if stored.status >= HTTPStatus.BAD_REQUEST:
            self._cost.cancel_runs()
        return stored.response()

    async def _attempt(self, operation: Operation) -> StoredResponse:
        if self._request is not None:
            return await run_once(self._engine, self._request, self._actor, self._now, self._cost, operation)
        async with unit_of_work(self._engine, self._actor, self._now, self._cost) as work:
            return await operation(work)


async def _unkeyed(engine: EngineDep, actor: ActorDep, now: Now, cost: CostDep) -> WriteRequest:
    return WriteRequest(engine, actor, now, cost, None)


async def _keyed(
    request: Request,
    engine: EngineDep,
    actor: ActorDep,
    now: Now,
    cost: CostDep,
    key: Annotated[
        str | None,
        Header(
            alias=idempotency.HEADER,
            description="A unique name for this request, such as a UUID. If it is sent again within 24 hours, the "
            "stored response is sent again and nothing is done.",
            pattern=idempotency.PATTERN,
        ),
    ] = None,
) -> WriteRequest:
    if key is None:
        return WriteRequest(engine, actor, now, cost, None)
    if len(request.headers.getlist(idempotency.HEADER)) > 1:
        raise InvalidInput.of([FieldError(f"#/{idempotency.HEADER}", "send it only once", "header")])
    headers = [repr(request.headers.getlist(name)).encode() for name in _FINGERPRINT_HEADERS]
    fingerprint = (request.url.query.encode(), await request.body(), *headers)
    keyed = keyed_request(key, actor, request.method, request.url.path, *fingerprint)
    return WriteRequest(engine, actor, now, cost, keyed)


async def _if_match(
    request: Request,
    if_match: Annotated[
        str | None,
        Header(
            alias="If-Match",
            description="Change the object only if it is still at this version: its ETag, several ETags, or `*`. "
            f"{etags.MAX_LENGTH} characters at most.",
            examples=['"3"'],
            json_schema_extra={"pattern": etags.PATTERN},
        ),
    ] = None,
) -> EntityTags | None:
    return None if if_match is None else parse_tags(", ".join(request.headers.getlist("if-match")), "If-Match")


async def _if_none_match(
    request: Request,
    if_none_match: Annotated[
        str | None,
        Header(
            alias="If-None-Match",
            description=f"Answer 304 if the content is still at this version. {etags.MAX_LENGTH} characters at most.",
            examples=['"3"'],
            json_schema_extra={"pattern": etags.PATTERN},
        ),
    ] = None,
) -> EntityTags | None:
    if if_none_match is None:
        return None
    return parse_tags(", ".join(request.headers.getlist("if-none-match")), "If-None-Match")


WriteRequestDep = Annotated[WriteRequest, Depends(_unkeyed)]
KeyedWriteRequestDep = Annotated[WriteRequest, Depends(_keyed)]
"""The parameter for POST. The other methods are idempotent without a key."""
IfMatch = Annotated[EntityTags | None, Depends(_if_match)]
IfNoneMatch = Annotated[EntityTags | None, Depends(_if_none_match)]
