"""What the routes are handed, and the answers that they have in common."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Path, Request, Security
from fastapi.params import Depends as Dependency
from fastapi.security import HTTPBearer
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.access.roles import Needs
from admin_api.actors import Actor, Role
from admin_api.configs import Configs
from admin_api.fields import MAX_ID
from admin_api.problems import MEDIA_TYPE
from admin_api.schemas import Problem

PREFIX: Final = "/api/v1/admin/data-collection"

# Declared for the docs page's Authorize button; TokenGate is what enforces it, before any route is looked up.
declared_token = Security(HTTPBearer(auto_error=False, description="The value of CANDLEKEEP_ADMIN_TOKEN."))


def _configs(request: Request) -> Configs:
    configs: Configs = request.app.state.configs
    return configs


def _engine(request: Request) -> AsyncEngine:
    engine: AsyncEngine = request.app.state.engine
    return engine


def _now() -> datetime:
    return datetime.now(UTC)


def _actor(request: Request) -> Actor:
    actor: Actor = request.state.actor
    return actor


def needs(least: Role) -> Dependency:
    """A route's least role, among its `dependencies`. Every route states it, or the application is not built."""
    dependency: Dependency = Depends(Needs(least))
    return dependency


ConfigsDep = Annotated[Configs, Depends(_configs)]
EngineDep = Annotated[AsyncEngine, Depends(_engine)]
ActorDep = Annotated[Actor, Depends(_actor)]
Now = Annotated[datetime, Depends(_now)]
ConfigId = Annotated[int, Path(ge=1, le=MAX_ID, description="The config's id.", examples=[1])]
LogId = Annotated[int, Path(ge=1, le=MAX_ID, description="The log's id.", examples=[1234])]

_DESCRIPTIONS = {
    401: "No valid bearer token.",
    403: "The caller's role does not allow this.",
    404: "There is no such thing.",
    409: "Another config already collects one of these timeframes; `config_id` and `timeframes` name it. Or the first "
    "request with this Idempotency-Key is not done yet.",
    412: "The config is not at the version that If-Match names; the ETag header has the current one.",
    413: "The body is too large.",
    422: "An input is not valid; `errors` says which and what to change.",
    503: "The database does not answer; nothing was changed.",
}
TOTAL_HEADER: Final[dict[str, Any]] = {
    "X-Total-Count": {"description": "How many there are in all.", "schema": {"type": "integer"}}
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route; 401, 403 and 503 can come from any."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
    return {
        status: {"description": _DESCRIPTIONS[status], "content": content}
        for status in sorted({401, 403, 503, *statuses})
    }
