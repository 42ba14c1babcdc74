"""Translates the exceptions of ccxt and aiohttp to `ExchangeFailure`. This is the only place that does so.

The classes of ccxt do not show which requests may be retried. For example, ccxt raises a plain `ExchangeError` if a
connection breaks within the body, and `ExchangeNotAvailable` if the location is blocked. So the cause, the HTTP status
and the words of the response are also used.
"""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
from ccxt.base import errors as ccxt

from collector.exchange.failures import ExchangeFailure
from collector.exchange.refusal_words import (
    names_ban,
    names_maintenance,
    names_place,
    names_too_many_requests,
)
from collector.exchange.strict_http import ResponseTooLarge
from collector.exchange.traits_table import traits_of
from contracts.vocabulary import ErrorClass
from runtime.printable import printable

LONGEST_RETRY_AFTER: Final = 86_400.0
"""The longest accepted wait, in seconds; a longer wait is shortened to it. Some exchanges send milliseconds, or dates
in the far future.
"""

# These statuses are read in the same way for every exchange, so they are not in the table of traits.
_BANNED: Final = 418
_TOO_MANY_REQUESTS: Final = 429
_FORBIDDEN: Final = 403
_BLOCKED_LOCATION: Final = 451
_NO_SUCH_PATH: Final = frozenset({404, 405})
_MAX_DETAIL_LENGTH: Final = 300

_MAY_BE_BAN: Final = (ccxt.RateLimitExceeded, ccxt.DDoSProtection, ccxt.NetworkError, ccxt.AuthenticationError)
_UNKNOWN_CODE: Final = frozenset({ccxt.ExchangeError, ccxt.OperationFailed})

_CLASSES: Final[tuple[tuple[type[BaseException], ErrorClass, bool], ...]] = (
    # The first match is used, so subclasses come before their bases. The flag says whether the request may be retried.
    (ccxt.RateLimitExceeded, ErrorClass.RATE_LIMITED, True),
    (ccxt.DDoSProtection, ErrorClass.RATE_LIMITED, True),
    (ccxt.OnMaintenance, ErrorClass.MAINTENANCE, True),
    (ccxt.RequestTimeout, ErrorClass.TIMEOUT, True),
    (ccxt.ExchangeNotAvailable, ErrorClass.UNAVAILABLE, True),
    (ccxt.InvalidNonce, ErrorClass.EXCHANGE_ERROR, True),
    (ccxt.NetworkError, ErrorClass.NETWORK, True),
    (ResponseTooLarge, ErrorClass.BAD_RESPONSE, False),
    (ccxt.BadResponse, ErrorClass.BAD_RESPONSE, True),
    (ccxt.OperationFailed, ErrorClass.EXCHANGE_ERROR, True),
    (ccxt.RestrictedLocation, ErrorClass.BLOCKED_LOCATION, False),
    (ccxt.AuthenticationError, ErrorClass.AUTHENTICATION, False),
    (ccxt.BadSymbol, ErrorClass.BAD_SYMBOL, False),
    (ccxt.BadRequest, ErrorClass.BAD_REQUEST, False),
    (ccxt.ArgumentsRequired, ErrorClass.BAD_REQUEST, False),
    (ccxt.NotSupported, ErrorClass.NOT_SUPPORTED, False),
    (ccxt.OperationRejected, ErrorClass.EXCHANGE_ERROR, False),
    (ccxt.BaseError, ErrorClass.EXCHANGE_ERROR, True),
    (TimeoutError, ErrorClass.TIMEOUT, True),
    (aiohttp.ClientError, ErrorClass.NETWORK, True),
    (OSError, ErrorClass.NETWORK, True),
)

_REASONS: Final = {
    ErrorClass.RATE_LIMITED: "refused the request: too many requests",
    ErrorClass.BANNED: "has banned this IP address because of too many requests",
    ErrorClass.BLOCKED_LOCATION: "does not serve the location of this collector",
    ErrorClass.MAINTENANCE: "is under maintenance",
    ErrorClass.UNAVAILABLE: "is not available",
    ErrorClass.TIMEOUT: "did not respond in time",
    ErrorClass.NETWORK: "could not be reached, or the connection was lost",
    ErrorClass.BAD_RESPONSE: "sent a response that cannot be read",
    ErrorClass.AUTHENTICATION: "requires credentials for this request",
    ErrorClass.BAD_SYMBOL: "does not know this symbol",
    ErrorClass.BAD_REQUEST: "rejected the request",
    ErrorClass.NOT_SUPPORTED: "does not support this request",
    ErrorClass.EXCHANGE_ERROR: "reported an error",
}


def translate_error(
    error: Exception, exchange: str, now: datetime, max_wait: float = LONGEST_RETRY_AFTER
) -> ExchangeFailure:
    """The `ExchangeFailure` for an exception of a ccxt call. It never raises, even if the response was invalid.

    `max_wait`: seconds; the failure's `retry_after` is between 0 and this value.
    """
    error_class, retryable = _classify(error, exchange)
    wait = _limited(getattr(error, "retry_after", None), max_wait)
    message = f"{exchange} {_reason(error, error_class)}{_retry_after_text(wait, now)}: {_detail(error)}"
    return ExchangeFailure(error_class, message, retryable=retryable, retry_after=wait)


def _reason(error: Exception, error_class: ErrorClass) -> str:
    status = getattr(error, "http_status", None)
    if error_class is ErrorClass.BLOCKED_LOCATION and status is not None:
        return f"{_REASONS[error_class]} (HTTP {status})"
    if error_class is ErrorClass.UNAVAILABLE and status == _FORBIDDEN:
        return "refused the request (HTTP 403)"
    return _REASONS.get(error_class, "failed")


def is_retry_after_too_long(error: Exception, max_wait: float) -> bool:
    """Whether the response's Retry-After is longer than `max_wait` seconds."""
    retry_after: float | None = getattr(error, "retry_after", None)
    return retry_after is not None and retry_after > max_wait


def _limited(wait: float | None, max_wait: float) -> float | None:
    if wait is None or math.isnan(wait):
        return None
    return min(max(0.0, wait), max_wait)


def _retry_after_text(wait: float | None, now: datetime) -> str:
    if wait is None:
        return ""
    return f", with a Retry-After until {(now + timedelta(seconds=wait)).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _classify(error: Exception, exchange: str) -> tuple[ErrorClass, bool]:
    specific = _classify_by_response(error) or _classify_by_phrase(error, exchange) or _classify_by_words(error)
    if specific is not None:
        return specific
    if isinstance(error.__cause__, aiohttp.ClientError | OSError) and not isinstance(error, ccxt.RequestTimeout):
        return ErrorClass.NETWORK, True
    for exception_class, error_class, retryable in _CLASSES:
        if isinstance(error, exception_class):
            return error_class, retryable
    # If a response has an unexpected shape, ccxt raises errors of Python itself: KeyError, TypeError, ...
    return ErrorClass.BAD_RESPONSE, True


def _classify_by_response(error: Exception) -> tuple[ErrorClass, bool] | None:
    """The class according to the status and the words of the response. It has priority over ccxt's class."""
    status, words = getattr(error, "http_status", None), getattr(error, "words", "")
    if status == _BANNED:
        return ErrorClass.BANNED, True
    is_forbidden = status in {_FORBIDDEN, _BLOCKED_LOCATION}
    refused = isinstance(error, ccxt.RateLimitExceeded | ccxt.DDoSProtection)
    if status == _BLOCKED_LOCATION or (
        status != _TOO_MANY_REQUESTS and names_place(words, is_forbidden=is_forbidden and not refused)
    ):
        return ErrorClass.BLOCKED_LOCATION, False
    may_be_ban = isinstance(error, _MAY_BE_BAN) or type(error) in _UNKNOWN_CODE
    if may_be_ban and names_ban(words, is_refused=refused or is_forbidden):
        return ErrorClass.BANNED, True
    if status in _NO_SUCH_PATH and type(error) is ccxt.ExchangeNotAvailable:
        return ErrorClass.BAD_REQUEST, False
    return None


def _classify_by_words(error: Exception) -> tuple[ErrorClass, bool] | None:
    """The class of an error whose code ccxt does not know."""
    words = getattr(error, "words", "")
    if type(error) not in _UNKNOWN_CODE or not words:
        return None
    if names_too_many_requests(words):
        return ErrorClass.RATE_LIMITED, True
    return (ErrorClass.MAINTENANCE, True) if names_maintenance(words) else None


def _classify_by_phrase(error: Exception, exchange: str) -> tuple[ErrorClass, bool] | None:
    if type(error) is not ccxt.ExchangeError:
        return None
    text = str(error)
    phrases = traits_of(exchange).error_phrases
    return next(((phrase.error_class, phrase.retryable) for phrase in phrases if phrase.text in text), None)


def _detail(error: Any) -> str:
    text = str(error) or type(error).__name__
    cause = error.__cause__
    if isinstance(cause, aiohttp.ClientError | OSError):
        text = f"{text} ({type(cause).__name__}: {cause})"
    if not isinstance(error, ccxt.BaseError):
        text = f"{type(error).__name__}: {text}"
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", printable(text))).strip()
    return plain if len(plain) <= _MAX_DETAIL_LENGTH else plain[: _MAX_DETAIL_LENGTH - 1] + "…"
