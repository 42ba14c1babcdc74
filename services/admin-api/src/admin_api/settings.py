"""What the operator can set. One environment variable per field, in upper case."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from admin_api.access.settings import AccessSettings
from runtime.settings import DatabaseSettings, TickSettings, WorkerSettings

_SENDABLE = re.compile(r"[\x21-\x7e]*")


def _sendable(token: SecretStr) -> SecretStr:
    if not _SENDABLE.fullmatch(token.get_secret_value()):
        raise ValueError("use printable ASCII without spaces, or no HTTP header can carry it")
    return token


class AdminApiSettings(WorkerSettings, DatabaseSettings, TickSettings, AccessSettings):
    """All of admin-api's settings."""

    http_port: int = Field(default=8000, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    live_max_listeners: int = Field(
        default=500, ge=1, description="Connections that may listen to events at once, per instance."
    )
    candlekeep_admin_token: Annotated[SecretStr, Field(min_length=24), AfterValidator(_sendable)] = Field(
        description="The first admin's bearer token, with which others are made: at least 24 characters, for example "
        "from `openssl rand -hex 24`."
    )
