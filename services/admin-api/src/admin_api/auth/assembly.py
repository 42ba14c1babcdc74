"""Builds the objects that authentication needs. Building them opens no connection."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.auth.authenticator import Authenticator
from admin_api.auth.failed_logins import FailedLogins
from admin_api.auth.jwks import Jwks
from admin_api.auth.oidc import JwtRules, JwtVerifier
from admin_api.auth.refusal_audit import RefusalAudit
from admin_api.auth.sessions import Sessions
from admin_api.auth.token_lookup import TokenLookup
from admin_api.auth.tokens import Tokens
from admin_api.metrics import Metrics
from admin_api.settings import AdminApiSettings


@dataclass(frozen=True, kw_only=True)
class AuthComponents:
    """The parts that the authentication middleware and the routes of tokens and sessions use."""

    authenticator: Authenticator
    tokens: Tokens
    sessions: Sessions
    refusals: RefusalAudit


def assemble(
    settings: AdminApiSettings, engine: AsyncEngine, reserved_engine: AsyncEngine, metrics: Metrics
) -> AuthComponents:
    """`reserved_engine` is used only for queries that each login needs.

    The list of tokens and the audit entries of refused requests use `engine`.
    """
    sessions = Sessions(reserved_engine, settings.candlekeep_admin_token)
    authenticator = Authenticator(
        settings.candlekeep_admin_token,
        TokenLookup(reserved_engine),
        sessions,
        _identity_provider(settings, metrics),
        FailedLogins.limited_to(settings.failed_logins_per_minute),
        always_secure=settings.session_cookie_secure,
    )
    return AuthComponents(
        authenticator=authenticator, tokens=Tokens(engine), sessions=sessions, refusals=RefusalAudit(engine, metrics)
    )


def _identity_provider(settings: AdminApiSettings, metrics: Metrics) -> JwtVerifier | None:
    if not settings.oidc_issuer:
        return None
    keys = Jwks(settings.oidc_jwks_url, lambda outcome: metrics.jwks_fetches.labels(outcome).inc())
    return JwtVerifier(JwtRules.of(settings), keys)
