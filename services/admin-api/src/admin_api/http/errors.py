"""Why a request is refused. Each error knows its HTTP status and says in `detail` what to change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

MAX_ERRORS: Final = 20
"""An answer names at most so many faults: a caller mends some and asks again."""


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with one input."""

    pointer: str
    """JSON pointer into the body, `#/timeframes/0`, or `#/limit` for a parameter named limit."""
    detail: str
    where: str = "body"
    """body, query, path or header."""


class ApiError(Exception):
    """A request that cannot be served. Becomes an RFC 9457 problem at the border."""

    status: ClassVar[int]
    slug: ClassVar[str]
    """The last part of the problem's `type`: stable, for programs."""
    title: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        extensions: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.extensions = dict(extensions or {})
        self.headers = dict(headers or {})


class Forbidden(ApiError):  # noqa: N818 -- these name what is the case
    """The caller is known and may not do this."""

    status = 403
    slug = "forbidden"
    title = "The role does not allow this"


class NotFound(ApiError):  # noqa: N818
    """There is nothing under this id."""

    status = 404
    slug = "not-found"
    title = "Not found"


class TimeframesTaken(ApiError):  # noqa: N818
    """Another config collects one of these timeframes already."""

    status = 409
    slug = "timeframes-taken"
    title = "Already collected by another config"


class InvalidInput(ApiError):  # noqa: N818
    """The input cannot be accepted; `errors` names each fault."""

    status = 422
    slug = "invalid-input"
    title = "The request is not valid"

    @classmethod
    def of(cls, errors: Sequence[FieldError]) -> "InvalidInput":
        """One error, its `detail` a summary of the faults."""
        return cls("; ".join(f"{error.pointer.removeprefix('#/')}: {error.detail}" for error in errors), errors=errors)


class DatabaseUnavailable(ApiError):  # noqa: N818
    """Postgres does not answer, or not in time. It was not asked to commit, so nothing was changed."""

    status = 503
    slug = "database-unavailable"
    title = "The database does not answer"


class OutcomeUnknown(ApiError):  # noqa: N818
    """Postgres was asked to commit and its answer was lost. The change may or may not be stored."""

    status = 503
    slug = "outcome-unknown"
    title = "It is unknown whether the change was stored"


class WriteConflict(ApiError):  # noqa: N818
    """Postgres rolled the transaction back to end a deadlock or a serialization failure. Nothing was changed."""

    status = 503
    slug = "write-conflict"
    title = "Another change got in the way"


class TooManyListeners(ApiError):  # noqa: N818
    """This instance holds as many streams as it may."""

    status = 503
    slug = "too-many-listeners"
    title = "Too many listen already"


class VersionMismatch(ApiError):  # noqa: N818
    """The caller's If-Match names a version that is no longer the current one."""

    status = 412
    slug = "stale"
    title = "It has changed since it was read"


class KeyInUse(ApiError):  # noqa: N818
    """A request with this Idempotency-Key is being served at this moment."""

    status = 409
    slug = "idempotency-key-in-use"
    title = "The first request with this key is not done yet"


class KeyReused(ApiError):  # noqa: N818
    """This Idempotency-Key belongs to another request."""

    status = 422
    slug = "idempotency-key-reused"
    title = "The key belongs to another request"


class BulkRolledBack(ApiError):  # noqa: N818
    """One of several that should be done together cannot be done, or there are too many of them."""

    status = 409
    slug = "nothing-done"
    title = "Not all of it can be done, so nothing was"


class UnsupportedMedia(ApiError):  # noqa: N818
    """The body is in a format that is not read here."""

    status = 415
    slug = "unsupported-media-type"
    title = "Not a format that is read here"


class RemovalNotConfirmed(ApiError):  # noqa: N818
    """So many configs would be removed that the caller has to say how many."""

    status = 409
    slug = "removal-not-confirmed"
    title = "Removing so many needs a confirmation"


class TooManyRequests(ApiError):  # noqa: N818
    """The caller asks more often than it may."""

    status = 429
    slug = "too-many-requests"
    title = "Too many requests"
