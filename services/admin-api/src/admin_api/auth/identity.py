"""The result of authentication: an `Identity`, or one of the errors here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from admin_api.http.errors import ApiError
from admin_api.writes.actors import ActorKind, Role


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The owner of a credential. Together with the request it becomes an `Actor`."""

    kind: ActorKind
    name: str
    role: Role
    token_id: int | None = None
    subject: str | None = None
    """Issuer and subject of an identity provider's token, as `issuer#subject`. `name` is used only for display."""
    expires_at: datetime | None = None
    """The time at which the credential expires; None if it does not expire."""
    grants_until: datetime | None = None
    """For a session: the time at which the credential that opened it expires; None if it does not expire."""


Reason = Literal[
    "missing",
    "malformed",
    "unknown",
    "expired",
    "revoked",
    "used",
    "session_ended",
    "no_role",
    "cross_site",
    "throttled",
]
"""The reason why authentication failed. It is a metric label, and the audit log contains it."""


class Unauthorized(ApiError):  # noqa: N818 -- these names state the problem
    """The request has no valid credential. `identity` is set if the secret was correct but the credential is not valid,
    for example because the token has expired.

    `counts_as_failed_login`: the credential may be a guess, so the limit of failed logins counts it.
    """

    status = 401
    slug = "unauthorized"
    title = "No valid credential"

    def __init__(
        self, reason: Reason, detail: str, *, identity: Identity | None = None, public_id: str | None = None
    ) -> None:
        error = "" if reason == "missing" else ', error="invalid_token"'
        super().__init__(detail, headers={"WWW-Authenticate": f'Bearer realm="candlekeep"{error}'})
        self.reason: Reason = reason
        self.identity = identity
        self.public_id = public_id
        self.counts_as_failed_login = reason in {"malformed", "unknown"}


class NotAdmitted(ApiError):  # noqa: N818
    """The credential is valid, but does not allow this request."""

    status = 403
    slug = "not-admitted"
    title = "The request is not allowed with this credential"

    def __init__(self, reason: Reason, detail: str, *, identity: Identity) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.identity = identity


class TooManyFailures(ApiError):  # noqa: N818
    """This address has too many failed logins. Further wrong credentials get this error for a while."""

    status = 429
    slug = "too-many-failed-logins"
    title = "Too many failed logins"

    def __init__(self, retry_after: int) -> None:
        headers: Mapping[str, str] = {"Retry-After": str(retry_after)}
        super().__init__(
            f"This address sent too many wrong tokens; try again in {retry_after} seconds. Valid tokens still work.",
            headers=headers,
        )
        self.retry_after = retry_after


class IdentityProviderUnavailable(ApiError):  # noqa: N818
    """The identity provider's keys could not be fetched, so its tokens cannot be verified."""

    status = 503
    slug = "identity-provider-unavailable"
    title = "The identity provider is not available"
