"""The author of a request, and the roles."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

ActorKind = Literal["bootstrap", "token", "session", "oidc", "command", "anonymous"]
"""The kind of credential: the bootstrap token, an API token, a session cookie, an identity provider's token, or a
command on the server. `anonymous` is a caller with a wrong credential and appears only in the audit log."""


class Role(StrEnum):
    """The roles in ascending order. Each role has all rights of the roles before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, required: "Role") -> bool:
        """Whether this role has all rights of the role `required`."""
        return _RANK[self] >= _RANK[required]


_RANK: Final = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, kw_only=True)
class Actor:
    """The author of a request. The audit log stores it with each entry."""

    kind: ActorKind
    name: str
    role: Role
    request_id: str
    token_id: int | None = None
    subject: str | None = None
    """Issuer and subject of an identity provider's token, as `issuer#subject`. A session has the subject of its
    token.
    """
    expires_at: datetime | None = None
    """The time at which the credential expires; None if it does not expire."""
    grants_until: datetime | None = None
    """For a session: the time at which the credential that opened it expires. A token that the session creates cannot
    be valid for longer. None if the credential does not expire.
    """
    address: str | None = None
    """The client's IP address; None if there is no network connection."""

    @property
    def key(self) -> str:
        """A unique key of the caller. The name is not unique: several people or tokens may have the same one."""
        if self.token_id is not None:
            return f"{self.kind}:{self.token_id}"
        return f"{self.kind}:{self.name if self.subject is None else self.subject}"
