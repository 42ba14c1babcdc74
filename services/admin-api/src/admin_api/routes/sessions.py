"""Sessions of browsers, and the identity of the caller."""

from fastapi import APIRouter, Request, Response

from admin_api.auth.authenticator import sign_in_code
from admin_api.auth.cookies import clear_session_cookie, session_cookie, set_session_cookie
from admin_api.auth.csrf import HEADER
from admin_api.auth.schemas import Me, Session
from admin_api.auth.sessions import IDLE
from admin_api.http.errors import Forbidden, NotFound
from admin_api.routes.api_route import ApiRoute
from admin_api.routes.dependencies import PREFIX, ActorDep, AuthDep, Now, declared_token, needs, problems
from admin_api.writes.actors import Role

router = APIRouter(prefix=PREFIX, tags=["access"], dependencies=[declared_token], route_class=ApiRoute)
_any_role = [needs(Role.VIEWER)]


@router.get("/me", dependencies=_any_role, responses=problems(), summary="Who am I?")
async def get_me(actor: ActorDep) -> Me:
    return Me(kind=actor.kind, name=actor.name, role=actor.role, token_id=actor.token_id, expires_at=actor.expires_at)


@router.post(
    "/sessions",
    status_code=201,
    dependencies=_any_role,
    responses=problems(),
    summary="Exchange a token for a session cookie",
)
async def open_session(auth: AuthDep, actor: ActorDep, now: Now, request: Request, response: Response) -> Session:
    """For browsers: send the token once as a bearer token, and do not store it. Scripts cannot read the cookie, and it
    is sent only to this origin. It ends 30 minutes after the last request, 12 hours after the login, or with the token.
    The code of a sign-in link takes the place of the token, once.
    """
    if actor.kind == "session":
        raise Forbidden("A session cannot create another session. Send a bearer token.")
    secure = auth.authenticator.is_secure(request.scope)
    previous = session_cookie(request.headers, secure=secure)
    cookie, expires_at = await auth.sessions.open(actor, previous, now, link_code=sign_in_code(request.headers))
    set_session_cookie(response, cookie, secure=secure, now=now, expires_at=expires_at)
    response.headers["Cache-Control"] = "no-store"
    return Session(
        name=actor.name,
        role=actor.role,
        expires_at=expires_at,
        idle_seconds=int(IDLE.total_seconds()),
        csrf_header=HEADER,
    )


@router.delete("/sessions/current", status_code=204, dependencies=_any_role, responses=problems(404), summary="Log out")
async def close_session(auth: AuthDep, actor: ActorDep, now: Now, request: Request, response: Response) -> None:
    """Ends the session of the cookie in the request, at once and on every instance."""
    secure = auth.authenticator.is_secure(request.scope)
    cookie = session_cookie(request.headers, secure=secure)
    if actor.kind != "session" or cookie is None:
        raise NotFound("This request has no session cookie, so there is no session to end.")
    await auth.sessions.close(cookie, actor, now)
    clear_session_cookie(response, secure=secure)
