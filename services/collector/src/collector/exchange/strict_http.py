"""Subclasses of ccxt's exchange classes that check HTTP responses strictly.

ccxt turns an HTML page, an incomplete body or an unknown status into invalid rows or into "no candles". Its hook
`handle_errors` gets the status, headers and body of the current request. So this hook refuses unusable responses and
adds the status and Retry-After to errors. ccxt's `last_response_headers` may belong to another, concurrent request.
"""

import email.utils
import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC
from functools import cache, lru_cache
from typing import Any, Final

from ccxt.base.errors import (
    BadResponse,
    BaseError,
    DDoSProtection,
    ExchangeError,
    ExchangeNotAvailable,
    RateLimitExceeded,
)
from ccxt.base.exchange import BaseExchange

_TOO_MANY: Final = frozenset({418, 429})
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_FIRST_TIMESTAMP: Final = 1e9
"""A Retry-After of at least this value is not a duration (31 years) but a time: seconds since the epoch."""

_FIRST_TIMESTAMP_MS: Final = 1e12
"""A Retry-After of at least this value is a time in milliseconds since the epoch."""


@dataclass
class RequestRecord:
    """The last request of the current task and its response."""

    sent_ms: int = 0
    """The exchange's time when the request was sent."""
    response_date: float | None = None
    """The Date header of the response, seconds since the epoch."""
    body: Any = None
    """The parsed JSON of a usable response."""

    @property
    def as_of_ms(self) -> int:
        """Candles that were closed at this time of the exchange are final in the response: the time of sending, but not
        later than the response's date.
        """
        if self.response_date is None:
            return self.sent_ms
        return min(self.sent_ms, int(self.response_date * 1000) + 999)


LAST_REQUEST: ContextVar[RequestRecord] = ContextVar("last_request")
"""The caller sets an empty record, and the strict class fills it in. Each concurrent request has its own record."""


@cache
def strict_class(cls: Any) -> Any:
    """A subclass of a ccxt exchange class that refuses unusable responses.

    Errors get the attributes `http_status` and `retry_after` (seconds or None). Set two hooks on each instance.
    `on_send` is called after the wait for the rate limit, just before a request is sent. It returns the exchange's time
    in milliseconds, or raises to stop the request. `on_date` is called with the date of every response, in seconds
    since the epoch.
    """

    class Strict(cls):  # type: ignore[misc] # ccxt's classes are chosen at run time
        on_send: Callable[[], int]
        on_date: Callable[[float], None]

        async def fetch(self, *args: Any, **kwargs: Any) -> Any:
            _last_request().sent_ms = self.on_send()
            return await super().fetch(*args, **kwargs)

        def parse_ohlcvs(self, ohlcvs: Any, market: Any = None, timeframe: str = "1m", *_since_limit_tail: Any) -> Any:
            # ccxt's filter by `since` would drop rows without a time: a response of such rows would look like "no
            # candles". `read_page` filters and sorts instead.
            if cls.parse_ohlcvs is BaseExchange.parse_ohlcvs:
                return [self.parse_ohlcv(row, market) for row in ohlcvs or ()]
            return super().parse_ohlcvs(ohlcvs, market, timeframe)

        def handle_errors(  # noqa: PLR0913, PLR0917 -- ccxt's signature
            self,
            code: Any,
            reason: Any,
            url: Any,
            method: Any,
            headers: Any,
            body: Any,
            response: Any,
            request_headers: Any,
            request_body: Any,
        ) -> None:
            record = _last_request()
            record.response_date = date_header(headers)
            if record.response_date is not None:
                self.on_date(record.response_date)
            try:
                super().handle_errors(code, reason, url, method, headers, body, response, request_headers, request_body)
                self.handle_http_status_code(code, reason, url, method, body)
                _raise_if_unusable(code, body, response)
            except BaseError as error:
                raise _with_http_details(error, code, headers, record.sent_ms / 1000) from error.__cause__
            except Exception as error:  # ccxt searches any JSON for codes and fails if it is not an object
                unreadable = BadResponse(f"HTTP {code} with an unexpected body: {body!r:.200}")
                raise _with_http_details(unreadable, code, headers, record.sent_ms / 1000) from error
            record.body = response

    Strict.__name__ = cls.__name__
    return Strict


def _last_request() -> RequestRecord:
    return LAST_REQUEST.get(None) or RequestRecord()  # a request for markets has no record


def _raise_if_unusable(code: int, body: str | None, response: Any) -> None:
    if code >= _CLIENT_ERROR:
        raise ExchangeNotAvailable(f"HTTP {code}")
    if response is None or response == {}:
        raise BadResponse(f"HTTP {code} with a body that is not JSON ({len(body or '')} characters)")


def _with_http_details(error: BaseError, code: int, headers: Mapping[str, str], sent: float) -> BaseError:
    """The error with the HTTP status and Retry-After.

    If ccxt does not know the code in the body, it raises an error that looks permanent. Then a status of 418, 429 or
    5xx decides the class of the error.
    """
    detailed = error
    if code in _TOO_MANY and not isinstance(error, DDoSProtection | RateLimitExceeded):
        detailed = RateLimitExceeded(str(error))
    elif code >= _SERVER_ERROR and type(error) in {ExchangeError, BadResponse}:
        detailed = ExchangeNotAvailable(str(error))
    detailed.http_status = code
    detailed.retry_after = retry_after(headers, sent)
    return detailed


def retry_after(headers: Mapping[str, str], sent: float | None = None) -> float | None:
    """The wait of a Retry-After header in seconds, finite and not negative. None if the header is missing or invalid.

    The header may contain seconds, a date, or a time in seconds or milliseconds since the epoch. For times, the wait is
    counted from the response's Date header. Without that header, it is counted from `sent`, the time of the request in
    seconds since the epoch.
    """
    value = _header(headers, "retry-after")
    if value is None:
        return None
    number = _number(value)
    if number is not None and number < _FIRST_TIMESTAMP:
        return max(0.0, number)
    until = _http_date(value) if number is None else number / 1000 if number >= _FIRST_TIMESTAMP_MS else number
    since = date_header(headers) or sent
    return max(0.0, until - since) if until is not None and since else None


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def date_header(headers: Mapping[str, str]) -> float | None:
    """The Date header in seconds since the epoch. None if it is missing or invalid."""
    value = _header(headers, "date")
    return _http_date(value) if value is not None else None


@lru_cache(maxsize=64)
def _http_date(value: str) -> float | None:
    """Cached, because all responses of one second have the same date, and parsing is slow."""
    try:
        date = email.utils.parsedate_to_datetime(value)
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):  # invalid dates make the parser raise any of these
        return None


def _header(headers: Mapping[str, str] | None, name: str) -> str | None:
    return next((value for key, value in (headers or {}).items() if key.lower() == name), None)
