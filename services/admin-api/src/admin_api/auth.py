"""Who may call: one bearer token, asked for before anything else looks at the request."""

import hmac

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from admin_api.access.public import is_public
from admin_api.actors import Actor, Role
from admin_api.problems import problem_response


class TokenGate:
    """Middleware rather than a dependency of each route: routes added later are closed by default, and an
    unauthenticated caller learns neither which paths exist nor what is wrong with a body.
    """

    def __init__(self, app: ASGIApp, *, token: SecretStr) -> None:
        self._app = app
        self._token = token.get_secret_value().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_public(scope["path"]):
            return await self._app(scope, receive, send)
        given = bearer_token(Headers(scope=scope).getlist("authorization"))
        if given is not None and hmac.compare_digest(given, self._token):
            scope["state"]["actor"] = _bootstrap(scope)
            return await self._app(scope, receive, send)
        refusal = problem_response(
            status=401,
            slug="unauthorized",
            title="A valid token is needed",
            detail="Send the header `Authorization: Bearer TOKEN` with the value of CANDLEKEEP_ADMIN_TOKEN."
            if given is None
            else "This token is not the value of CANDLEKEEP_ADMIN_TOKEN.",
            instance=scope["path"],
            headers={
                "WWW-Authenticate": 'Bearer realm="candlekeep"'
                + (', error="invalid_token"' if given is not None else "")
            },
        )
        return await refusal(scope, receive, send)


def _bootstrap(scope: Scope) -> Actor:
    return Actor(
        kind="bootstrap",
        name="bootstrap",
        role=Role.ADMIN,
        request_id=scope["state"]["request_id"],
        address=scope["client"][0] if scope.get("client") else None,
    )


def bearer_token(authorization: list[str]) -> bytes | None:
    """The token of the only Authorization header; None when it is missing, repeated or of another form."""
    if len(authorization) != 1:
        return None
    scheme, _, token = authorization[0].strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or " " in token.strip():
        return None
    return token.strip().encode("latin-1")  # the bytes as they came: headers are decoded as latin-1
