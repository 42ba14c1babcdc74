"""The parameters and the error responses that several routes share."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

from fastapi import Depends, FastAPI, Path, Request, Security
from fastapi.params import Depends as Dependency
from fastapi.security import APIKeyCookie, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.auth.assembly import AuthComponents
from admin_api.auth.cookies import PLAIN_NAME, SECURE_NAME
from admin_api.auth.csrf import HEADER as CSRF_HEADER
from admin_api.auth.required_roles import RequiredRole
from admin_api.configs.service import ConfigService
from admin_api.http.input_types import RowId
from admin_api.http.problems import MEDIA_TYPE, Problem
from admin_api.http.request_cost import RequestCost
from admin_api.writes.actors import Actor, Role

PREFIX: Final = "/api/v1/admin/data-collection"
_BEARER: Final = "An API token (ck_…), the value of CANDLEKEEP_ADMIN_TOKEN, or a JWT of the identity provider."
_COOKIE: Final = (
    f"The session of a browser, from POST {PREFIX}/sessions. Over plain HTTP its name is {PLAIN_NAME}. Requests that "
    "change something must come from a page of the same origin. From browsers that do not send Sec-Fetch-Site, they "
    f"also need the header {CSRF_HEADER}."
)


async def _declared(
    _bearer: Annotated[object, Security(HTTPBearer(auto_error=False, description=_BEARER))],
    _cookie: Annotated[object, Security(APIKeyCookie(name=SECURE_NAME, auto_error=False, description=_COOKIE))],
) -> None:
    """Declare the authentication for OpenAPI, which adds the Authorize button to the page `/docs`.

    The authentication middleware checks the credential, before any routing.
    """


declared_token = Depends(_declared)


T = TypeVar("T")


class Provided(Generic[T]):
    """A dependency whose value the composition root gives to each application: `ENGINE.provide(app, engine)`.

    FastAPI's `dependency_overrides` would do the same, but with an override it analyses the signatures of all
    dependencies again in each request, which takes longer than this.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._values: WeakKeyDictionary[FastAPI, T] = WeakKeyDictionary()

    def provide(self, app: FastAPI, value: T) -> None:
        self._values[app] = value

    async def __call__(self, request: Request) -> T:
        """Asynchronous, because FastAPI calls other functions in a thread. Raises `LookupError`."""
        return self.of(request.app)

    def of(self, app: FastAPI) -> T:
        """The value for this application. Raises `LookupError`."""
        try:
            return self._values[app]
        except KeyError:
            raise LookupError(f"build_api provides no {self._name}") from None


ENGINE: Final = Provided[AsyncEngine]("engine")
CONFIG_SERVICE: Final = Provided[ConfigService]("config service")
AUTH: Final = Provided[AuthComponents]("auth components")


async def _now() -> datetime:
    return datetime.now(UTC)


async def _actor(request: Request) -> Actor:
    actor: Actor = request.state.actor
    return actor


async def _cost(request: Request) -> RequestCost:
    cost: RequestCost = request.state.cost
    return cost


def needs(least: Role) -> Dependency:
    """A dependency that requires at least this role. The application is not built if a route has none."""
    dependency: Dependency = Depends(RequiredRole(least))
    return dependency


ConfigServiceDep = Annotated[ConfigService, Depends(CONFIG_SERVICE)]
EngineDep = Annotated[AsyncEngine, Depends(ENGINE)]
AuthDep = Annotated[AuthComponents, Depends(AUTH)]
ActorDep = Annotated[Actor, Depends(_actor)]
CostDep = Annotated[RequestCost, Depends(_cost)]
Now = Annotated[datetime, Depends(_now)]
ConfigId = Annotated[RowId, Path(description="The config's id.", examples=[1])]
TokenId = Annotated[RowId, Path(description="The token's id.", examples=[1])]
LogId = Annotated[RowId, Path(description="The log's id.", examples=[1234])]

_DESCRIPTIONS = {
    401: "No valid bearer token or session.",
    403: "The caller's role does not allow this, or a page of another site made the request.",
    404: "There is no such resource.",
    409: "The state of the object does not allow this; `type` and `detail` say why. For example, another "
    "config already collects one of these timeframes; `config_id` and `timeframes` name it. Or the first request with "
    "this Idempotency-Key is still in progress.",
    412: "The object is not at the version of If-Match. The ETag header has the current version.",
    413: "The body is too large.",
    415: "The body has a Content-Encoding, or a Content-Type that is not supported.",
    422: "An input is not valid. `errors` says which one, and what to change.",
    429: "The caller has used up its requests per minute, or its address has too many failed authentications. "
    "Retry-After says when to try again.",
    503: "The database does not answer, or another change conflicted with this one: nothing was changed. If the type "
    "is `outcome-unknown`, the commit was not confirmed: repeat the request with the same Idempotency-Key, or read the "
    "current state before you try again.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route. Every route can answer 401, 403, 429 and 503."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
    return {
        status: {"description": _DESCRIPTIONS[status], "content": content}
        for status in sorted({401, 403, 429, 503, *statuses})
    }
