"""Turns the credential of a request into an `Actor`, or raises the reason why it is refused."""

import hmac
from datetime import datetime

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import Scope

from admin_api.auth.client_addresses import address_of, rate_limit_key
from admin_api.auth.cookies import session_cookie
from admin_api.auth.csrf import csrf_problem
from admin_api.auth.failed_logins import FailedLogins
from admin_api.auth.identity import Identity, NotAdmitted, Unauthorized
from admin_api.auth.oidc import JwtVerifier, looks_like_jwt
from admin_api.auth.sessions import Sessions
from admin_api.auth.sign_in_links import PREFIX as LINK_PREFIX
from admin_api.auth.sign_in_links import check_code
from admin_api.auth.token_format import parse
from admin_api.auth.token_lookup import TokenLookup
from admin_api.http.request_ids import current_request_id
from admin_api.writes.actors import Actor, Role

_BOOTSTRAP = Identity(kind="bootstrap", name="bootstrap", role=Role.ADMIN)


class Authenticator:
    """Checks the Authorization header first, then the session cookie. The bootstrap token needs no database."""

    def __init__(
        self,
        bootstrap_token: SecretStr,
        tokens: TokenLookup,
        sessions: Sessions,
        oidc: JwtVerifier | None,
        failed_logins: FailedLogins,
        *,
        always_secure: bool,
    ) -> None:
        self._bootstrap = bootstrap_token.get_secret_value().encode()
        self._tokens = tokens
        self._sessions = sessions
        self._oidc = oidc
        self._failed_logins = failed_logins
        self._always_secure = always_secure

    async def authenticate(self, scope: Scope, now: datetime, monotonic: float) -> Actor:
        """The caller of this request. `monotonic` is the monotonic clock in seconds, for the limit of failed logins.

        Raises `Unauthorized`, `NotAdmitted`, `TooManyFailures` and `DatabaseUnavailable`; for a token of the identity
        provider also `IdentityProviderUnavailable`.
        """
        address = address_of(scope)
        identity = await self._identity(scope, now, rate_limit_key(address), monotonic)
        return Actor(
            kind=identity.kind,
            name=identity.name,
            role=identity.role,
            token_id=identity.token_id,
            subject=identity.subject,
            expires_at=identity.expires_at,
            grants_until=identity.grants_until,
            request_id=current_request_id() or "",
            address=address,
        )

    def is_secure(self, scope: Scope) -> bool:
        """Whether the browser uses TLS. `scope` has the scheme that a trusted proxy reported."""
        return self._always_secure or scope.get("scheme") == "https"

    async def _identity(self, scope: Scope, now: datetime, address: str, monotonic: float) -> Identity:
        headers = Headers(scope=scope)
        authorization = headers.getlist("authorization")
        if authorization:
            identity = await self._bearer_identity(authorization, now, address, monotonic)
            if sign_in_code(headers) is not None and not _opens_session(scope):
                raise NotAdmitted("malformed", "A sign-in link can only open a session.", identity=identity)
            return identity
        cookie = session_cookie(headers, secure=self.is_secure(scope))
        if cookie is None:
            raise Unauthorized(
                "missing", "Send the header `Authorization: Bearer TOKEN` with an API token, or a session cookie."
            )

        async def find() -> Identity:
            return await self._sessions.identity(cookie, now)

        identity = await self._failed_logins.look_up(find, address, monotonic)
        problem = csrf_problem(scope["method"], headers, scheme=scope.get("scheme", "http"))
        if problem is not None:
            raise NotAdmitted("cross_site", problem, identity=identity)
        return identity

    async def _bearer_identity(
        self, authorization: list[str], now: datetime, address: str, monotonic: float
    ) -> Identity:
        given = bearer_token(authorization)
        if given is None:
            raise Unauthorized("missing", "Send one header `Authorization: Bearer TOKEN`.")
        if hmac.compare_digest(given, self._bootstrap):
            return _BOOTSTRAP
        text = given.decode("latin-1")
        if text.startswith(LINK_PREFIX):
            return self._identity_of_link(text, now, address, monotonic)
        if (token := parse(text)) is not None:

            async def find() -> Identity:
                return await self._tokens.identity(token, now)

            return await self._failed_logins.look_up(find, address, monotonic)
        try:
            return await self._identity_of_jwt(text, now)
        except Unauthorized as refusal:
            raise self._failed_logins.refused(refusal, address, monotonic) from None

    def _identity_of_link(self, code: str, now: datetime, address: str, monotonic: float) -> Identity:
        try:
            check_code(code, self._bootstrap.decode(), now)
        except Unauthorized as refusal:
            raise self._failed_logins.refused(refusal, address, monotonic) from None
        return _BOOTSTRAP

    async def _identity_of_jwt(self, text: str, now: datetime) -> Identity:
        if self._oidc is not None and looks_like_jwt(text):
            return await self._oidc.identity(text, now)
        raise Unauthorized("malformed", "This is neither an API token nor the value of CANDLEKEEP_ADMIN_TOKEN.")


def sign_in_code(headers: Headers) -> str | None:
    """The code of a sign-in link, if the request has one as its bearer token."""
    given = bearer_token(headers.getlist("authorization"))
    text = None if given is None else given.decode("latin-1")
    return text if text is not None and text.startswith(LINK_PREFIX) else None


def _opens_session(scope: Scope) -> bool:
    method: str = scope["method"]
    path: str = scope["path"]
    return method == "POST" and path.endswith("/sessions")


def bearer_token(authorization: list[str]) -> bytes | None:
    """The bearer token. None if the Authorization header is missing, repeated or malformed."""
    if len(authorization) != 1:
        return None
    scheme, _, token = authorization[0].strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or " " in token.strip():
        return None
    return token.strip().encode("latin-1")  # the bytes as received: Starlette decodes headers as latin-1
