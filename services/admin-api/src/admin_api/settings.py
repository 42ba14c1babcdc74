"""The settings of admin-api. Each field is an environment variable, in upper case."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from admin_api.receivers.settings import NotificationSettings
from admin_api.writes.actors import Role
from runtime.settings import AllowedExchangesSettings, DatabaseSettings, TickSettings, WorkerSettings

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
"""The allowed algorithms, which sign with a private key. Signatures with a shared secret (HS*) and `none` are not
allowed.
"""


def _networks(value: str) -> str:
    parts = [part.strip() for part in value.split(",") if part.strip()]
    for part in parts:
        try:
            if "%" in part:
                raise ValueError("it has a zone")
            ip_network(part)
        except ValueError as error:
            raise ValueError(f"{part!r} is neither an IP address nor a network such as 10.0.0.0/8") from error
    return ",".join(parts)


def _jwks_url(value: str) -> str:
    url = urlsplit(value)
    if value and url.scheme != "https" and not (url.scheme == "http" and url.hostname in {"localhost", "127.0.0.1"}):
        raise ValueError("must begin with https://, so that no one on the network can replace the keys")
    return value


class AuthSettings(BaseSettings):
    """Settings of authentication, except the bootstrap token: proxies, throttling, and an identity provider."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    trusted_proxies: Annotated[str, AfterValidator(_networks)] = Field(
        default="",
        description="IP addresses or networks of the proxies in front of the API, separated by commas. Only their "
        "headers X-Forwarded-For and X-Forwarded-Proto are trusted.",
    )
    session_cookie_secure: bool = Field(
        default=False,
        description="Set true if browsers reach the API over TLS and no trusted proxy sends X-Forwarded-Proto. Session "
        "cookies are then always marked as secure.",
    )
    failed_logins_per_minute: int = Field(
        default=30,
        ge=1,
        le=100_000,
        description="Failed authentications per minute and address before further ones are answered with 429. "
        "Malformed credentials are counted separately from unknown ones, with the same limit. Valid credentials are "
        "always accepted.",
    )
    oidc_issuer: str = Field(
        default="",
        description="Claim `iss` of the identity provider whose JWTs are accepted. If empty, no JWT is accepted.",
    )
    oidc_audience: str = Field(
        default="", description="Name of this API at the identity provider. The claim `aud` of a JWT must contain it."
    )
    oidc_jwks_url: Annotated[str, AfterValidator(_jwks_url)] = Field(
        default="", description="URL of the identity provider's keys (JWKS). URLs inside a token are never fetched."
    )
    oidc_algorithms: list[Algorithm] = Field(
        default=["RS256", "ES256", "Ed25519", "EdDSA"],
        min_length=1,
        description="Accepted signature algorithms, as a JSON list.",
    )
    oidc_token_types: list[str] = Field(
        default=["at+jwt", "JWT"],
        min_length=1,
        description='Accepted values of the JWT header `typ`, as a JSON list. Set ["at+jwt"] if the identity provider '
        "follows RFC 9068.",
    )
    oidc_role_claim: str = Field(
        default="roles", min_length=1, description="Claim that contains the roles, such as roles or realm_access.roles."
    )
    oidc_role_map: dict[str, Role] = Field(
        default_factory=dict,
        description='Role in Candlekeep for each value of the role claim, as JSON such as {"candlekeep-admins": '
        '"admin"}. Other values give no role.',
    )
    oidc_name_claim: str = Field(
        default="sub",
        min_length=1,
        description="Claim that the audit log shows as the name of the caller. Callers are identified by `iss` and "
        "`sub`, not by this name.",
    )
    oidc_leeway_seconds: int = Field(
        default=30,
        ge=0,
        le=300,
        description="Largest accepted difference to the clock of the identity provider, in seconds.",
    )

    @model_validator(mode="after")
    def _oidc_is_complete(self) -> Self:
        given = {
            "OIDC_ISSUER": self.oidc_issuer,
            "OIDC_AUDIENCE": self.oidc_audience,
            "OIDC_JWKS_URL": self.oidc_jwks_url,
            "OIDC_ROLE_MAP": self.oidc_role_map,
        }
        missing = [name for name, value in given.items() if not value]
        if 0 < len(missing) < len(given):
            raise ValueError(f"For an identity provider, also set {', '.join(missing)}.")
        return self


_SENDABLE = re.compile(r"[\x21-\x7e]*")
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?")


def _sendable(token: SecretStr) -> SecretStr:
    if not _SENDABLE.fullmatch(token.get_secret_value()):
        raise ValueError("use printable ASCII without spaces: an HTTP header cannot contain other characters")
    return token


def _origins(value: str) -> str:
    origins = [part.strip() for part in value.split(",") if part.strip()]
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is not an origin: write scheme and host, such as https://tools.example.com")
    return ",".join(origins)


class AdminApiSettings(
    WorkerSettings, DatabaseSettings, TickSettings, AllowedExchangesSettings, AuthSettings, NotificationSettings
):
    """All settings of admin-api."""

    http_port: int = Field(
        default=8000, ge=0, le=65535, description="Port that the HTTP server listens on; 0 takes a free port."
    )
    dashboard_folder: Path = Field(
        default=Path("dashboard/dist"),
        description="Folder of the built dashboard, which `make dashboard` writes. The API works without it.",
    )
    cors_allowed_origins: Annotated[str, AfterValidator(_origins)] = Field(
        default="",
        description="Origins of other web sites that may call the API with a token, separated by commas, such as "
        "https://tools.example.com.",
    )
    requests_per_minute: int = Field(
        default=6000,
        ge=1,
        description="Requests per minute that one caller may send to one instance. The caller may send all of them at "
        "once. Further requests are answered with 429.",
    )
    triggers_per_minute: int = Field(
        default=120,
        ge=1,
        description="Runs per minute that one caller may start at one instance: manual runs, and the initial runs of "
        "configs that the caller creates, enables or gives new timeframes. A bulk request counts each run. Further "
        "requests that start runs are answered with 429.",
    )
    max_event_streams: int = Field(
        default=500,
        ge=1,
        description="Largest number of open event streams per instance. Further requests are answered with 503.",
    )
    max_event_streams_per_caller: int = Field(
        default=50,
        ge=1,
        description="Largest number of open event streams of one caller per instance, and never more than half of "
        "MAX_EVENT_STREAMS. Further requests are answered with 429. Raise it if many programs or browser tabs share "
        "one token.",
    )
    candlekeep_admin_token: Annotated[SecretStr, Field(min_length=24), AfterValidator(_sendable)] = Field(
        description="Bearer token of the first admin, who creates other tokens with it. At least 24 characters; create "
        "one with `openssl rand -hex 24`."
    )
