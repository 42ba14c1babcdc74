"""The id of each request. The response header X-Request-ID, the log lines and the audit log contain it."""

import re
from typing import Any, Final
from uuid import uuid4

import structlog
from asgi_correlation_id.context import correlation_id

HEADER: Final = "X-Request-ID"
_ACCEPTED: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def current_request_id() -> str | None:
    """The id of the current request; None outside of a request."""
    return correlation_id.get()


def _use(given: str) -> str:
    """The caller's id if its format is safe, so that a request can be traced across systems; otherwise a new id."""
    request_id = given if _ACCEPTED.fullmatch(given) else uuid4().hex
    structlog.contextvars.bind_contextvars(request_id=request_id)
    return request_id


OPTIONS: Final[dict[str, Any]] = {
    "header_name": HEADER,
    # `transformer` checks the id. `validator` would also log a warning for each id that it refuses, so that any caller
    # could fill the log.
    "validator": None,
    "transformer": _use,
    "update_request_header": False,
}
"""The arguments for `CorrelationIdMiddleware`."""
