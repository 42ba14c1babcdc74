"""The request and response bodies of tokens, sessions and the audit log."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from admin_api.auth.token_format import shown_prefix
from admin_api.http.input_types import INTEGRAL_NUMBER, Input
from admin_api.writes.actors import ActorKind, Role

TokenName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}$",
        description="The person or program that uses the token. The audit log shows this name.",
        examples=["grafana"],
    ),
]
MAX_LIFETIME_DAYS = 3650
MAX_GRACE_MINUTES = 7 * 24 * 60


class NewToken(Input):
    """A request to create a token."""

    name: TokenName
    role: Role = Field(description="viewer reads; operator also triggers, enables and disables; admin does everything.")
    expires_in_days: Annotated[int, Field(ge=1, le=MAX_LIFETIME_DAYS, strict=True), INTEGRAL_NUMBER] | None = Field(
        default=90,
        description="Lifetime in days. Null: the token never expires, so replace it regularly. The "
        "lifetime of a token that a session creates is limited by the credential that opened the session.",
    )

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "grafana", "role": "viewer", "expires_in_days": 90}]}
    )


class Rotation(Input):
    """A request to replace a token."""

    grace_minutes: Annotated[int, Field(ge=0, le=MAX_GRACE_MINUTES, strict=True), INTEGRAL_NUMBER] = Field(
        default=0, description="Minutes for which the old token and its sessions are still accepted."
    )

    model_config = ConfigDict(json_schema_extra={"examples": [{"grace_minutes": 60}]})


class Token(BaseModel):
    """A token, without its secret."""

    id: int
    name: str
    role: Role
    prefix: str = Field(description="The beginning of the token.", examples=["ck_4fQ0aZ81bCdE"])
    status: Literal["active", "expired", "revoked"]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = Field(description="Null: the token never expires.")
    last_used_at: datetime | None = Field(description="Updated at most once a minute.")
    revoked_at: datetime | None = Field(description="A time in the future means: replaced, and still valid until then.")

    @classmethod
    def of(cls, row: sa.Row[Any], now: datetime) -> Self:
        """Builds the object from a row of the table `api_tokens`."""
        values = dict(row._mapping)  # noqa: SLF001 -- public in SQLAlchemy, despite the underscore
        prefix = shown_prefix(values.pop("public_id"))
        return cls(**values, prefix=prefix, status=status_of(values["revoked_at"], values["expires_at"], now))


def status_of(
    revoked_at: datetime | None, expires_at: datetime | None, now: datetime
) -> Literal["active", "expired", "revoked"]:
    """The status of a token at the time `now`."""
    if revoked_at is not None and revoked_at <= now:
        return "revoked"
    return "expired" if expires_at is not None and expires_at <= now else "active"


class IssuedToken(Token):
    """A new token. Only this response contains its secret."""

    token: str = Field(description="The token with its secret. Store it now: it is not shown again.")


class Me(BaseModel):
    """The caller of the request."""

    kind: ActorKind = Field(description="The kind of credential that the caller sent.")
    name: str
    role: Role
    token_id: int | None = Field(description="The id of the caller's token, or of the token that opened the session.")
    expires_at: datetime | None = Field(description="When the credential expires; null: never.")


class Session(BaseModel):
    """A browser's session. Only the cookie contains its identifier."""

    name: str
    role: Role
    expires_at: datetime = Field(description="The session ends at this time at the latest.")
    idle_seconds: int = Field(
        description="Seconds without a request after which the session ends earlier.", examples=[1800]
    )
    csrf_header: str = Field(
        description="The header that every changing request must have, with any value.",
        examples=["X-CSRF-Protection"],
    )


class AuditEntry(BaseModel):
    """A change or a refused request."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    at: datetime
    actor_kind: str = Field(description="`anonymous` if the credential was not valid.", examples=["token"])
    actor: str = Field(description="A name to display; several callers may have the same name.", examples=["grafana"])
    token_id: int | None
    address: str | None
    request_id: str
    action: str = Field(description="Object type and operation.", examples=["config.update"])
    object_type: str = Field(examples=["config"])
    object_id: str | None = Field(examples=["1"])
    outcome: Literal["done", "refused"]
    before: dict[str, Any] | None
    after: dict[str, Any] | None = Field(description="For a refused request: its method, path, status and reason.")
    subject: str | None = Field(
        description="Issuer and subject of an identity provider's token, as `issuer#subject`. It is unique to "
        "one caller. Null: the caller had no such token.",
        examples=["https://login.example.org/realms/markets#f81d4fae-7dec-11d0-a765-00a0c91e6bf6"],
    )
