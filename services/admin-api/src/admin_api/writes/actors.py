"""Who is calling, and what they may do."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

ActorKind = Literal["bootstrap", "token", "session", "oidc", "command", "anonymous"]
"""The token of the environment, one of the database, a browser's cookie, an identity provider's, a command here; the
last only in the audit log, for whoever came with a wrong one."""


class Role(StrEnum):
    """Each may do all that the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, least: "Role") -> bool:
        """Whether this role may do what asks for `least`."""
        return _RANK[self] >= _RANK[least]


_RANK: Final = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, kw_only=True)
class Actor:
    """The author of a request, as the audit log names it."""

    kind: ActorKind
    name: str
    role: Role
    request_id: str
    token_id: int | None = None
    subject: str | None = None
    """Issuer and subject of an identity provider's token, as `issuer#subject`; also of the session that it opened."""
    expires_at: datetime | None = None
    """When the credential ends by itself; None: never."""
    address: str | None = None
    """Where the request came from; None where there is no connection."""

    @property
    def key(self) -> str:
        """Tells callers apart, as a name does not: several people or tokens may have the same one."""
        if self.token_id is not None:
            return f"{self.kind}:{self.token_id}"
        return f"{self.kind}:{self.name if self.subject is None else self.subject}"
