"""Foreign exceptions, translated once: ccxt's classes, aiohttp's, and what ccxt trips over inside a bad answer.

ccxt's hierarchy does not tell what may be tried again (a connection cut in mid-body is a plain `ExchangeError`, a
location block is `ExchangeNotAvailable`), so the cause and the HTTP status are looked at as well.
"""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
from ccxt.base import errors as ccxt

from collector.exchange.failures import ExchangeFailure
from collector.exchange.traits import traits_of
from contracts.vocabulary import ErrorClass

LONGEST_RETRY_AFTER: Final = 86_400.0
"""Seconds. Some exchanges send milliseconds, or dates years ahead: what is longer than this is not believed."""

_BANNED: Final = 418
_BLOCKED_HERE: Final = 451
_NO_SUCH_PATH: Final = frozenset({404, 405})
_LONGEST_DETAIL: Final = 300

_CLASSES: Final[tuple[tuple[type[BaseException], ErrorClass, bool], ...]] = (
    # The first that fits counts: subclasses before their bases. The flag says whether to try again.
    (ccxt.RateLimitExceeded, ErrorClass.RATE_LIMITED, True),
    (ccxt.DDoSProtection, ErrorClass.RATE_LIMITED, True),
    (ccxt.OnMaintenance, ErrorClass.MAINTENANCE, True),
    (ccxt.RequestTimeout, ErrorClass.TIMEOUT, True),
    (ccxt.ExchangeNotAvailable, ErrorClass.UNAVAILABLE, True),
    (ccxt.InvalidNonce, ErrorClass.EXCHANGE_ERROR, True),
    (ccxt.NetworkError, ErrorClass.NETWORK, True),
    (ccxt.BadResponse, ErrorClass.BAD_RESPONSE, True),
    (ccxt.OperationFailed, ErrorClass.EXCHANGE_ERROR, True),
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

_SENTENCES: Final = {
    ErrorClass.RATE_LIMITED: "says that it was asked too often",
    ErrorClass.BANNED: "has banned this address for asking too often",
    ErrorClass.MAINTENANCE: "is under maintenance",
    ErrorClass.UNAVAILABLE: "is not available",
    ErrorClass.TIMEOUT: "did not answer in time",
    ErrorClass.NETWORK: "could not be reached, or the connection broke",
    ErrorClass.BAD_RESPONSE: "sent an answer that cannot be read",
    ErrorClass.AUTHENTICATION: "wants credentials for this",
    ErrorClass.BAD_SYMBOL: "does not know this symbol",
    ErrorClass.BAD_REQUEST: "refused the request",
    ErrorClass.NOT_SUPPORTED: "does not offer this",
    ErrorClass.EXCHANGE_ERROR: "reported an error",
}


def failure_of(
    error: Exception, exchange: str, now: datetime, longest_wait: float = LONGEST_RETRY_AFTER
) -> ExchangeFailure:
    """Our word for what a ccxt call raised. Never raises itself, whatever the exchange sent.

    `longest_wait`: seconds; the wait that an exchange asks for is between 0 and this.
    """
    error_class, retryable = _classify(error, exchange)
    wait = _believable(getattr(error, "retry_after", None), longest_wait)
    sentence = _SENTENCES.get(error_class, "failed")
    if getattr(error, "http_status", None) == _BLOCKED_HERE:
        sentence = "does not serve the place that this collector asks from (HTTP 451)"
    message = f"{exchange} {sentence}{_until(wait, now)}: {_detail(error)}"
    return ExchangeFailure(error_class, message, retryable=retryable, retry_after=wait)


def is_too_long(error: Exception, longest_wait: float) -> bool:
    """Whether the exchange asked for a longer wait than is believed."""
    asked: float | None = getattr(error, "retry_after", None)
    return asked is not None and asked > longest_wait


def _believable(wait: float | None, longest: float) -> float | None:
    if wait is None or math.isnan(wait):
        return None
    return min(max(0.0, wait), longest)


def _until(wait: float | None, now: datetime) -> str:
    if wait is None:
        return ""
    return f", and asks to wait until {(now + timedelta(seconds=wait)).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _classify(error: Exception, exchange: str) -> tuple[ErrorClass, bool]:
    told = _by_status(error) or _by_words(error, exchange)
    if told is not None:
        return told
    if isinstance(error.__cause__, aiohttp.ClientError | OSError) and not isinstance(error, ccxt.RequestTimeout):
        return ErrorClass.NETWORK, True
    for foreign, error_class, retryable in _CLASSES:
        if isinstance(error, foreign):
            return error_class, retryable
    # ccxt trips over an answer of an unexpected shape with whatever Python raises: KeyError, TypeError, ...
    return ErrorClass.BAD_RESPONSE, True


def _by_status(error: Exception) -> tuple[ErrorClass, bool] | None:
    status = getattr(error, "http_status", None)
    if status == _BANNED:
        return ErrorClass.BANNED, True
    if status == _BLOCKED_HERE:
        return ErrorClass.UNAVAILABLE, False
    if status in _NO_SUCH_PATH and type(error) is ccxt.ExchangeNotAvailable:
        return ErrorClass.BAD_REQUEST, False
    return None


def _by_words(error: Exception, exchange: str) -> tuple[ErrorClass, bool] | None:
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
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)).strip()
    return plain if len(plain) <= _LONGEST_DETAIL else plain[: _LONGEST_DETAIL - 1] + "…"
