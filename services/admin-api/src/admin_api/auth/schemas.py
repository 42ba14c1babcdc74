"""The JSON of tokens, sessions and the audit log."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from admin_api.auth.token_format import shown_prefix
from admin_api.http.input_types import WHOLE, Input
from admin_api.writes.actors import ActorKind, Role

TokenName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}$",
        description="Who or what uses it; the audit log names it.",
        examples=["grafana"],
    ),
]
MAX_LIFETIME_DAYS = 3650
MAX_GRACE_MINUTES = 7 * 24 * 60


class NewToken(Input):
    """A token to make."""

    name: TokenName
    role: Role = Field(description="viewer reads, operator also triggers, enables and disables, admin does everything.")
    expires_in_days: Annotated[int, Field(ge=1, le=MAX_LIFETIME_DAYS, strict=True), WHOLE] | None = Field(
        default=90, description="Null: it never expires. Better replace it now and then."
    )

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "grafana", "role": "viewer", "expires_in_days": 90}]}
    )


class Rotation(Input):
    """How to replace a token."""

    grace_minutes: Annotated[int, Field(ge=0, le=MAX_GRACE_MINUTES, strict=True), WHOLE] = Field(
        default=0, description="For so long the old one is accepted beside the new one; its sessions as well."
    )

    model_config = ConfigDict(json_schema_extra={"examples": [{"grace_minutes": 60}]})


class Token(BaseModel):
    """A token, without its secret."""

    id: int
    name: str
    role: Role
    prefix: str = Field(description="How it begins.", examples=["ck_4fQ0aZ81bCdE"])
    status: Literal["active", "expired", "revoked"]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = Field(description="Null: never.")
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None = Field(description="In the future: replaced, and valid until then.")

    @classmethod
    def of(cls, row: sa.Row[Any], now: datetime) -> Self:
        """From a row of its table."""
        values = dict(row._mapping)  # noqa: SLF001 -- SQLAlchemy's public way in spite of its name
        prefix = shown_prefix(values.pop("public_id"))
        return cls(**values, prefix=prefix, status=status_of(values["revoked_at"], values["expires_at"], now))


def status_of(
    revoked_at: datetime | None, expires_at: datetime | None, now: datetime
) -> Literal["active", "expired", "revoked"]:
    """What a token is worth now."""
    if revoked_at is not None and revoked_at <= now:
        return "revoked"
    return "expired" if expires_at is not None and expires_at <= now else "active"


class IssuedToken(Token):
    """A new token. This answer is the only place where its secret ever is."""

    token: str = Field(description="Keep it; it is not shown again.")


class Me(BaseModel):
    """Who is asking."""

    kind: ActorKind = Field(description="By what the caller was recognised.")
    name: str
    role: Role
    token_id: int | None = Field(description="The token's id, where the caller has one or began the session with one.")
    expires_at: datetime | None = Field(description="When this ends by itself; null: never.")


class Session(BaseModel):
    """A browser's session. What identifies it is in the cookie only."""

    name: str
    role: Role
    expires_at: datetime = Field(description="Whatever happens until then.")
    idle_seconds: int = Field(description="It ends earlier when no request is made for so long.", examples=[1800])
    csrf_header: str = Field(
        description="Requests that change something must carry this header, with any value.",
        examples=["X-CSRF-Protection"],
    )


class AuditEntry(BaseModel):
    """Who did what, or was refused it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    at: datetime
    actor_kind: str = Field(description="anonymous where the credential was not right.", examples=["token"])
    actor: str = Field(description="A name to show; several callers may have the same one.", examples=["grafana"])
    token_id: int | None
    address: str | None
    request_id: str
    action: str = Field(description="Object and verb.", examples=["config.update"])
    object_type: str = Field(examples=["config"])
    object_id: str | None = Field(examples=["1"])
    outcome: Literal["done", "refused"]
    before: dict[str, Any] | None
    after: dict[str, Any] | None = Field(description="Of a refused request: what it was and why it was refused.")
    subject: str | None = Field(
        description="Issuer and subject of an identity provider's token, as `issuer#subject`, which nobody else has; "
        "null: the caller had no such token.",
        examples=["https://login.example.org/realms/markets#f81d4fae-7dec-11d0-a765-00a0c91e6bf6"],
    )
