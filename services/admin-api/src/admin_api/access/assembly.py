"""What the way in is made of. Building it connects to nothing."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.access.doorman import Doorman
from admin_api.access.jwks import Jwks
from admin_api.access.oidc import JwtRules, OidcLogin
from admin_api.access.refusal_log import RefusalLog
from admin_api.access.sessions import Sessions
from admin_api.access.throttle import Buckets
from admin_api.access.token_login import TokenLogin
from admin_api.access.tokens import Tokens
from admin_api.metrics import Metrics
from admin_api.settings import AdminApiSettings


@dataclass(frozen=True, kw_only=True)
class Access:
    """Its parts, for the gate and for the routes."""

    doorman: Doorman
    tokens: Tokens
    sessions: Sessions
    refusals: RefusalLog


def assemble(settings: AdminApiSettings, engine: AsyncEngine, metrics: Metrics) -> Access:
    sessions = Sessions(engine, settings.candlekeep_admin_token)
    doorman = Doorman(
        settings.candlekeep_admin_token,
        TokenLogin(engine),
        sessions,
        _identity_provider(settings, metrics),
        Buckets(capacity=settings.failed_logins_per_minute, per_minute=settings.failed_logins_per_minute),
        always_secure=settings.session_cookie_secure,
    )
    return Access(doorman=doorman, tokens=Tokens(engine), sessions=sessions, refusals=RefusalLog(engine, metrics))


def _identity_provider(settings: AdminApiSettings, metrics: Metrics) -> OidcLogin | None:
    if not settings.oidc_issuer:
        return None
    keys = Jwks(settings.oidc_jwks_url, lambda outcome: metrics.jwks_fetches.labels(outcome).inc())
    return OidcLogin(JwtRules.of(settings), keys)
