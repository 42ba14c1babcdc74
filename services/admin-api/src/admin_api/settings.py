"""What the operator can set. One environment variable per field, in upper case."""

import re
from ipaddress import ip_network
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from admin_api.writes.actors import Role
from runtime.settings import DatabaseSettings, TickSettings, WorkerSettings

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
"""Signatures by a private key. Those with a shared secret (HS*) and `none` cannot be chosen."""


def _networks(value: str) -> str:
    parts = [part.strip() for part in value.split(",") if part.strip()]
    for part in parts:
        try:
            ip_network(part)
        except ValueError as error:
            raise ValueError(f"{part!r} is neither an IP address nor a network such as 10.0.0.0/8") from error
    return ",".join(parts)


def _jwks_url(value: str) -> str:
    url = urlsplit(value)
    if value and url.scheme != "https" and not (url.scheme == "http" and url.hostname in {"localhost", "127.0.0.1"}):
        raise ValueError("must begin with https://, so that nobody on the way can put in keys")
    return value


class AuthSettings(BaseSettings):
    """Beside the bootstrap token: proxies, throttling, and an identity provider."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    trusted_proxies: Annotated[str, AfterValidator(_networks)] = Field(
        default="",
        description="Addresses or networks of the proxies before the API, separated by commas. Only their "
        "X-Forwarded-For and X-Forwarded-Proto are believed.",
    )
    session_cookie_secure: bool = Field(
        default=False,
        description="true when browsers reach the API over TLS and no trusted proxy says so by X-Forwarded-Proto.",
    )
    failed_logins_per_minute: int = Field(
        default=30,
        ge=1,
        le=100_000,
        description="Wrong tokens per address before further ones are answered 429. Who had come in before is let in "
        "all the same.",
    )
    oidc_issuer: str = Field(
        default="",
        description="The identity provider whose JWTs are accepted, exactly as their `iss` says; empty: none.",
    )
    oidc_audience: str = Field(default="", description="What their `aud` must contain: the name of this API there.")
    oidc_jwks_url: Annotated[str, AfterValidator(_jwks_url)] = Field(
        default="", description="Where the provider publishes its keys. Nothing that a token says is ever fetched."
    )
    oidc_algorithms: list[Algorithm] = Field(
        default=["RS256", "ES256", "Ed25519", "EdDSA"], min_length=1, description="Accepted signatures, as JSON."
    )
    oidc_token_types: list[str] = Field(
        default=["at+jwt", "JWT"],
        min_length=1,
        description='Accepted values of the header `typ`, as JSON; ["at+jwt"] where the provider says so (RFC 9068).',
    )
    oidc_role_claim: str = Field(
        default="roles", min_length=1, description="The claim that holds the roles; a path such as realm_access.roles."
    )
    oidc_role_map: dict[str, Role] = Field(
        default_factory=dict,
        description='What its values mean here, as JSON such as {"candlekeep-admins": "admin"}; values that are not '
        "named mean nothing.",
    )
    oidc_name_claim: str = Field(
        default="sub",
        min_length=1,
        description="The claim that the audit log shows as the caller's name. It is only for show: "
        "callers are told apart by `iss` and `sub`.",
    )
    oidc_leeway_seconds: int = Field(
        default=30, ge=0, le=300, description="How far the provider's clock may be from ours."
    )

    @model_validator(mode="after")
    def _oidc_is_whole(self) -> Self:
        given = {
            "OIDC_ISSUER": self.oidc_issuer,
            "OIDC_AUDIENCE": self.oidc_audience,
            "OIDC_JWKS_URL": self.oidc_jwks_url,
            "OIDC_ROLE_MAP": self.oidc_role_map,
        }
        missing = [name for name, value in given.items() if not value]
        if 0 < len(missing) < len(given):
            raise ValueError(f"For an identity provider {', '.join(missing)} must be set as well.")
        return self


_SENDABLE = re.compile(r"[\x21-\x7e]*")


_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?")


def _sendable(token: SecretStr) -> SecretStr:
    if not _SENDABLE.fullmatch(token.get_secret_value()):
        raise ValueError("use printable ASCII without spaces, or no HTTP header can carry it")
    return token


def _origins(value: str) -> str:
    origins = [part.strip() for part in value.split(",") if part.strip()]
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is no origin: write scheme and host, such as https://tools.example.com")
    return ",".join(origins)


class AdminApiSettings(WorkerSettings, DatabaseSettings, TickSettings, AuthSettings):
    """All of admin-api's settings."""

    http_port: int = Field(default=8000, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    cors_allowed_origins: Annotated[str, AfterValidator(_origins)] = Field(
        default="",
        description="Web pages of other origins that may call the API with a token, such as "
        "https://tools.example.com; separated by commas.",
    )
    requests_per_minute: int = Field(
        default=6000,
        ge=1,
        description="Requests that one token may make, per instance; as many may come at once. Beyond: 429.",
    )
    triggers_per_minute: int = Field(
        default=120,
        ge=1,
        description="The same for manual runs: each trigger counts, and each run that a bulk trigger starts.",
    )
    max_event_streams: int = Field(
        default=500, ge=1, description="Connections that may listen to events at once, per instance."
    )
    candlekeep_admin_token: Annotated[SecretStr, Field(min_length=24), AfterValidator(_sendable)] = Field(
        description="The first admin's bearer token, with which others are made: at least 24 characters, for example "
        "from `openssl rand -hex 24`."
    )
