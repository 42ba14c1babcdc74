"""Who is at the door? The credential of a request becomes an actor, or a refusal."""

import hmac
from collections.abc import Callable
from datetime import datetime

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import Scope

from admin_api.auth.client_addresses import address_of, rate_limit_key
from admin_api.auth.cookies import session_cookie
from admin_api.auth.csrf import csrf_problem
from admin_api.auth.identity import Identity, NotAdmitted, TooManyFailures, Unauthorized
from admin_api.auth.oidc import OidcLogin, looks_like_jwt
from admin_api.auth.sessions import Sessions
from admin_api.auth.token_format import parse
from admin_api.auth.token_lookup import TokenLookup
from admin_api.http.request_ids import current_request_id
from admin_api.http.token_bucket import TokenBuckets
from admin_api.writes.actors import Actor, Role

_BOOTSTRAP = Identity(kind="bootstrap", name="bootstrap", role=Role.ADMIN)


class Authenticator:
    """The bootstrap token needs no database. What an Authorization header says counts before a cookie."""

    def __init__(
        self,
        bootstrap_token: SecretStr,
        tokens: TokenLookup,
        sessions: Sessions,
        oidc: OidcLogin | None,
        guesses: TokenBuckets,
        *,
        always_secure: bool,
    ) -> None:
        self._bootstrap = bootstrap_token.get_secret_value().encode()
        self._tokens = tokens
        self._sessions = sessions
        self._oidc = oidc
        self._guesses = guesses
        self._always_secure = always_secure

    async def admit(self, scope: Scope, now: datetime, monotonic: float) -> Actor:
        """`monotonic` is for the limit of failed logins, in seconds.

        Raises `Unauthorized`, `NotAdmitted`, `TooManyFailures`, `DatabaseUnavailable`, and, for its tokens only,
        `IdentityProviderUnavailable`.
        """
        address = address_of(scope)
        counted_as = rate_limit_key(address)

        def may_guess() -> None:
            if wait := self._guesses.seconds_until_one(counted_as, monotonic):
                raise TooManyFailures(wait)

        try:
            identity = await self._identity(scope, now, may_guess)
        except Unauthorized as refusal:
            if refusal.guess and not self._guesses.take(counted_as, monotonic):
                raise TooManyFailures(self._guesses.seconds_until_one(counted_as, monotonic)) from refusal
            raise
        return Actor(
            kind=identity.kind,
            name=identity.name,
            role=identity.role,
            token_id=identity.token_id,
            subject=identity.subject,
            expires_at=identity.expires_at,
            request_id=current_request_id() or "",
            address=address,
        )

    def is_secure(self, scope: Scope) -> bool:
        """Whether the browser speaks TLS, as far as we are told by those whom we trust."""
        return self._always_secure or scope.get("scheme") == "https"

    async def _identity(self, scope: Scope, now: datetime, may_guess: Callable[[], None]) -> Identity:
        headers = Headers(scope=scope)
        authorization = headers.getlist("authorization")
        if authorization:
            return await self._of_bearer(authorization, now, may_guess)
        cookie = session_cookie(headers, secure=self.is_secure(scope))
        if cookie is None:
            raise Unauthorized(
                "missing", "Send the header `Authorization: Bearer TOKEN` with an API token, or a session's cookie."
            )
        if not self._sessions.has_seen(cookie):
            may_guess()
        identity = await self._sessions.identity(cookie, now)
        problem = csrf_problem(scope["method"], headers, scheme=scope.get("scheme", "http"))
        if problem is not None:
            raise NotAdmitted("cross_site", problem, whose=identity)
        return identity

    async def _of_bearer(self, authorization: list[str], now: datetime, may_guess: Callable[[], None]) -> Identity:
        given = bearer_token(authorization)
        if given is None:
            raise Unauthorized("missing", "Send one header `Authorization: Bearer TOKEN`.")
        if hmac.compare_digest(given, self._bootstrap):
            return _BOOTSTRAP
        text = given.decode("latin-1")
        if (token := parse(text)) is not None:
            if not self._tokens.has_seen(token):
                may_guess()  # before the look-up: guesses must not keep the database busy
            return await self._tokens.identity(token, now)
        if self._oidc is not None and looks_like_jwt(text):
            return await self._oidc.identity(text, now)
        raise Unauthorized("malformed", "This is neither an API token nor the value of CANDLEKEEP_ADMIN_TOKEN.")


def bearer_token(authorization: list[str]) -> bytes | None:
    """The token of the only Authorization header; None when it is missing, repeated or of another form."""
    if len(authorization) != 1:
        return None
    scheme, _, token = authorization[0].strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or " " in token.strip():
        return None
    return token.strip().encode("latin-1")  # the bytes as they came: headers are decoded as latin-1
