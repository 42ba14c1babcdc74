"""What a credential proves, and why one is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from admin_api.http.errors import ApiError
from admin_api.writes.actors import ActorKind, Role


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Whose credential it is. A request makes an `Actor` of it."""

    kind: ActorKind
    name: str
    role: Role
    token_id: int | None = None
    subject: str | None = None
    """Issuer and subject of an identity provider's token, as `issuer#subject`. The name is only for show."""
    expires_at: datetime | None = None
    """When the credential ends by itself; None: never."""


Reason = Literal[
    "missing", "malformed", "unknown", "expired", "revoked", "session_ended", "no_role", "cross_site", "throttled"
]
"""Why nobody came in: a label of the metrics, and in the audit log."""


class Unauthorized(ApiError):  # noqa: N818 -- these name what is the case
    """No valid credential. `guess` says that it may have been an attempt at one, which the throttle counts; an expired
    one was right once. `whose` is known where the secret was right.
    """

    status = 401
    slug = "unauthorized"
    title = "A valid token is needed"

    def __init__(
        self, reason: Reason, detail: str, *, whose: Identity | None = None, public_id: str | None = None
    ) -> None:
        error = "" if reason == "missing" else ', error="invalid_token"'
        super().__init__(detail, headers={"WWW-Authenticate": f'Bearer realm="candlekeep"{error}'})
        self.reason: Reason = reason
        self.whose = whose
        self.public_id = public_id
        self.guess = reason in {"malformed", "unknown"}


class NotAdmitted(ApiError):  # noqa: N818
    """The credential is right, and the request may not be made with it."""

    status = 403
    slug = "not-admitted"
    title = "The request is not allowed"

    def __init__(self, reason: Reason, detail: str, *, whose: Identity) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.whose = whose


class TooManyFailures(ApiError):  # noqa: N818
    """So many failed logins came from this address that further guesses wait."""

    status = 429
    slug = "too-many-failed-logins"
    title = "Too many failed logins"

    def __init__(self, retry_after: int) -> None:
        headers: Mapping[str, str] = {"Retry-After": str(retry_after)}
        super().__init__(
            f"Too many requests with a wrong token came from this address; try again in {retry_after} seconds. "
            "A token that this instance has seen before is let in meanwhile.",
            headers=headers,
        )
        self.retry_after = retry_after


class IdentityProviderUnavailable(ApiError):  # noqa: N818
    """The keys of the identity provider are not known, so its tokens cannot be checked."""

    status = 503
    slug = "identity-provider-unavailable"
    title = "The identity provider does not answer"
