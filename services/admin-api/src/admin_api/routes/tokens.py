"""API tokens, for admins."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response

from admin_api.auth.schemas import IssuedToken, NewToken, Rotation, Token
from admin_api.auth.tokens import TokenFilters
from admin_api.http.pagination import PAGE_HEADERS, send
from admin_api.routes.api_route import ApiRoute
from admin_api.routes.dependencies import PREFIX, ActorDep, AuthDep, Now, TokenId, declared_token, needs, problems
from admin_api.writes.actors import Role

router = APIRouter(
    prefix=f"{PREFIX}/tokens", tags=["access"], dependencies=[declared_token, needs(Role.ADMIN)], route_class=ApiRoute
)
_NO_STORE = {"Cache-Control": "no-store"}


@router.get("", responses={200: {"headers": PAGE_HEADERS}, **problems(422)}, summary="List the tokens, newest first")
async def list_tokens(
    auth: AuthDep, filters: Annotated[TokenFilters, Query()], now: Now, request: Request, response: Response
) -> list[Token]:
    return send(await auth.tokens.page(filters, now), request, response)


@router.post("", status_code=201, responses=problems(413, 415, 422), summary="Create a token")
async def create_token(
    new_token: NewToken, auth: AuthDep, actor: ActorDep, now: Now, response: Response
) -> IssuedToken:
    """The response contains the token, which is never shown again.

    If the request is repeated, it creates another token.
    """
    response.headers.update(_NO_STORE)
    return await auth.tokens.create(new_token, actor, now)


@router.delete("/{token_id}", status_code=204, responses=problems(404, 422), summary="Revoke a token")
async def revoke_token(token_id: TokenId, auth: AuthDep, actor: ActorDep, now: Now) -> None:
    """At once and on every instance, with the sessions that it opened. A revoked token stays revoked."""
    await auth.tokens.revoke(token_id, actor, now)


@router.post(
    "/{token_id}/rotate",
    status_code=201,
    responses=problems(404, 409, 413, 415, 422),
    summary="Replace a token with a new one",
)
async def rotate_token(
    token_id: TokenId,
    auth: AuthDep,
    actor: ActorDep,
    now: Now,
    response: Response,
    rotation: Annotated[Rotation, Body()] = Rotation(),  # noqa: B008 -- never changed
) -> IssuedToken:
    """Same name, role and lifetime. The old token ends at once, or after the grace period of the request."""
    response.headers.update(_NO_STORE)
    return await auth.tokens.rotate(token_id, timedelta(minutes=rotation.grace_minutes), actor, now)
