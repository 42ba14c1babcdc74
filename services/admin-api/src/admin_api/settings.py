"""What the operator can set. One environment variable per field, in upper case."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from admin_api.access.settings import AccessSettings
from runtime.settings import DatabaseSettings, TickSettings, WorkerSettings

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


class AdminApiSettings(WorkerSettings, DatabaseSettings, TickSettings, AccessSettings):
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
    live_max_listeners: int = Field(
        default=500, ge=1, description="Connections that may listen to events at once, per instance."
    )
    candlekeep_admin_token: Annotated[SecretStr, Field(min_length=24), AfterValidator(_sendable)] = Field(
        description="The first admin's bearer token, with which others are made: at least 24 characters, for example "
        "from `openssl rand -hex 24`."
    )
