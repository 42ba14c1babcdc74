"""The errors of the API. Each has an HTTP status; its `detail` says what to change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

MAX_ERRORS: Final = 20
"""The largest number of faults in one response. A caller who corrects these and tries again gets the next ones."""


@dataclass(frozen=True)
class FieldError:
    """One fault of one input."""

    pointer: str
    """A JSON pointer into the body, such as `#/timeframes/0`; for a parameter, `#/` and its name."""
    detail: str
    where: str = "body"
    """body, query, path or header."""


class ApiError(Exception):
    """The base of all errors that a caller gets. The error handler sends them as RFC 9457 problems."""

    status: ClassVar[int]
    slug: ClassVar[str]
    """The last part of the problem's `type`. Programs rely on it, so it must not change."""
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


class Forbidden(ApiError):  # noqa: N818 -- these names state the problem
    """The caller is authenticated, but its role does not allow the request."""

    status = 403
    slug = "forbidden"
    title = "The role does not allow this request"


class NotFound(ApiError):  # noqa: N818
    """No object has this id."""

    status = 404
    slug = "not-found"
    title = "Not found"


class TimeframesTaken(ApiError):  # noqa: N818
    """Another config already collects one of these timeframes."""

    status = 409
    slug = "timeframes-taken"
    title = "Timeframe already collected by another config"


class InvalidInput(ApiError):  # noqa: N818
    """The input is not valid. `errors` has one entry per fault."""

    status = 422
    slug = "invalid-input"
    title = "The request is not valid"

    @classmethod
    def of(cls, errors: Sequence[FieldError]) -> "InvalidInput":
        """An error with a summary of all faults as its `detail`."""
        return cls("; ".join(f"{error.pointer.removeprefix('#/')}: {error.detail}" for error in errors), errors=errors)


class DatabaseUnavailable(ApiError):  # noqa: N818
    """Postgres is not available or too slow. No commit was sent, so nothing was changed."""

    status = 503
    slug = "database-unavailable"
    title = "The database is not available"


class OutcomeUnknown(ApiError):  # noqa: N818
    """A commit was sent and Postgres did not confirm it. The change may or may not be stored."""

    status = 503
    slug = "outcome-unknown"
    title = "Outcome of the change unknown"


class WriteConflict(ApiError):  # noqa: N818
    """Postgres rolled the transaction back because of a deadlock or serialization failure. Nothing was changed."""

    status = 503
    slug = "write-conflict"
    title = "Conflict with another change"


class TooManyEventStreams(ApiError):  # noqa: N818
    """This instance has reached its limit of open event streams."""

    status = 503
    slug = "too-many-listeners"
    title = "Too many event streams"


class VersionMismatch(ApiError):  # noqa: N818
    """The caller's If-Match names a version that is no longer current."""

    status = 412
    slug = "stale"
    title = "The object has changed since it was read"


class KeyInUse(ApiError):  # noqa: N818
    """A request with this Idempotency-Key is in progress."""

    status = 409
    slug = "idempotency-key-in-use"
    title = "A request with this key is in progress"


class KeyReused(ApiError):  # noqa: N818
    """This Idempotency-Key was used for another request."""

    status = 422
    slug = "idempotency-key-reused"
    title = "The key was used for another request"


class BulkRolledBack(ApiError):  # noqa: N818
    """An item of an all-or-nothing request failed, or the selection is too large. Nothing was changed."""

    status = 409
    slug = "nothing-done"
    title = "Bulk request rolled back"


class BackfillCancelled(ApiError):  # noqa: N818
    """The backfill is cancelled, so it cannot be paused or resumed."""

    status = 409
    slug = "backfill-cancelled"
    title = "The backfill is cancelled"


class UnsupportedMedia(ApiError):  # noqa: N818
    """The media type or encoding of the body is not supported."""

    status = 415
    slug = "unsupported-media-type"
    title = "Unsupported media type"


class RemovalNotConfirmed(ApiError):  # noqa: N818
    """The request would remove many configs, so the caller must confirm their number."""

    status = 409
    slug = "removal-not-confirmed"
    title = "Removal of configs not confirmed"


class TooManyRequests(ApiError):  # noqa: N818
    """The caller exceeds its rate limit."""

    status = 429
    slug = "too-many-requests"
    title = "Too many requests"


class TooManyExpensiveRequests(ApiError):  # noqa: N818
    """The caller has too many expensive requests in progress."""

    status = 429
    slug = "too-many-expensive-requests"
    title = "Too many expensive requests at once"


class Busy(ApiError):  # noqa: N818
    """The expensive requests of other callers use all places of this instance."""

    status = 503
    slug = "busy"
    title = "Too busy for an expensive request"
