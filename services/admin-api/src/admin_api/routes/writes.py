"""What routes that change something have in common: If-Match, Idempotency-Key, and the transaction that they run in."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request, Response
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.routing import Match
from starlette.types import Scope
from typing_extensions import override

from admin_api.http import etags
from admin_api.http.errors import FieldError, InvalidInput, WriteConflict
from admin_api.http.etags import EntityTags, parse_tags
from admin_api.http.stored_response import StoredResponse
from admin_api.routes.dependencies import ActorDep, EngineDep, Now
from admin_api.writes import idempotency
from admin_api.writes.actors import Actor
from admin_api.writes.idempotency import KeyedRequest, Operation, keyed_request, run_once
from admin_api.writes.unit_of_work import unit_of_work
from runtime.logs import log

_NOT_AN_ID: Final = frozenset({"apply", "bulk", "export"})
_DECISIVE_HEADERS: Final = ("content-type", "if-match")

ETAG_HEADER: Final[dict[str, Any]] = {
    "ETag": {"description": "The config's version, for If-Match.", "schema": {"type": "string"}, "example": '"3"'}
}
REPLAYED_HEADER: Final[dict[str, Any]] = {
    idempotency.REPLAYED_HEADER: {
        "description": "`true` on an answer that is given again because the Idempotency-Key was sent before.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}


class ConfigRoute(APIRoute):
    """`/configs/export` is not the config with the id "export": else its other methods would be 422 and not 405."""

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        if child_scope.get("path_params", {}).get("config_id") in _NOT_AN_ID:
            return Match.NONE, {}
        return match, child_scope


class WriteRequest:
    """One request's change. `perform` runs it in a transaction, once per Idempotency-Key where the caller sent one."""

    def __init__(self, engine: AsyncEngine, actor: Actor, now: datetime, request: KeyedRequest | None) -> None:
        self._engine = engine
        self._actor = actor
        self._now = now
        self._request = request

    async def perform(self, operation: Operation) -> Response:
        """Once more if Postgres rolled it back to end a deadlock: the other transaction has its locks then."""
        try:
            answer = await self._attempt(operation)
        except WriteConflict:
            log.info("A transaction was rolled back by a conflict and runs again", action="write_repeated")
            answer = await self._attempt(operation)
        return answer.response()

    async def _attempt(self, operation: Operation) -> StoredResponse:
        if self._request is not None:
            return await run_once(self._engine, self._request, self._actor, self._now, operation)
        async with unit_of_work(self._engine, self._actor, self._now) as work:
            return await operation(work)


def _unkeyed(engine: EngineDep, actor: ActorDep, now: Now) -> WriteRequest:
    return WriteRequest(engine, actor, now, None)


async def _keyed(
    request: Request,
    engine: EngineDep,
    actor: ActorDep,
    now: Now,
    key: Annotated[
        str | None,
        Header(
            alias=idempotency.HEADER,
            description="A name for this request, such as a UUID. Sent again within 24 hours, it is answered again and "
            "not done again.",
            pattern=idempotency.PATTERN,
        ),
    ] = None,
) -> WriteRequest:
    if key is None:
        return WriteRequest(engine, actor, now, None)
    if len(request.headers.getlist(idempotency.HEADER)) > 1:
        raise InvalidInput.of([FieldError(f"#/{idempotency.HEADER}", "send it once", "header")])
    headers = [repr(request.headers.getlist(name)).encode() for name in _DECISIVE_HEADERS]
    decisive = (request.url.query.encode(), await request.body(), *headers)
    keyed = keyed_request(key, actor, request.method, request.url.path, *decisive)
    return WriteRequest(engine, actor, now, keyed)


def _if_match(
    request: Request,
    if_match: Annotated[
        str | None,
        Header(
            alias="If-Match",
            description="Do it only if the config is still at this version: its ETag, several of them, or `*`. "
            f"{etags.MAX_LENGTH} characters at most.",
            examples=['"3"'],
            json_schema_extra={"pattern": etags.PATTERN},
        ),
    ] = None,
) -> EntityTags | None:
    return None if if_match is None else parse_tags(", ".join(request.headers.getlist("if-match")), "If-Match")


def _if_none_match(
    request: Request,
    if_none_match: Annotated[
        str | None,
        Header(
            alias="If-None-Match",
            description="StoredResponse 304 if the config is still at this version. "
            f"{etags.MAX_LENGTH} characters at most.",
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
"""For POST: the other methods can be sent again as they are."""
IfMatch = Annotated[EntityTags | None, Depends(_if_match)]
IfNoneMatch = Annotated[EntityTags | None, Depends(_if_none_match)]
