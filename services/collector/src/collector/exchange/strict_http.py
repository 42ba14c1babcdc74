"""ccxt's exchanges, made strict about HTTP.

ccxt turns an HTML page, a cut-off body or a status that it does not know into rows of garbage or into "no candles".
`handle_errors` is the one hook that sees status, headers and body of this very request, so that is where they are
refused, and where an error is given its status and Retry-After: `last_response_headers` belongs to whoever came last.
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
_FIRST_INSTANT: Final = 1e9
"""A Retry-After from here on is no number of seconds (31 years) but an instant: seconds since the epoch."""

_FIRST_INSTANT_MS: Final = 1e12
"""From here on: milliseconds since the epoch."""


@dataclass
class Exchanged:
    """The last request of the current task and its answer."""

    sent_ms: int = 0
    """The exchange's time when the request left: what was closed by then is final in the answer."""
    dated: float | None = None
    """The answer's Date, seconds since the epoch."""
    body: Any = None
    """The parsed JSON of a good answer."""

    @property
    def asked_ms(self) -> int:
        """By when the exchange was asked, on its own clock: not later than its answer is dated."""
        return self.sent_ms if self.dated is None else min(self.sent_ms, int(self.dated * 1000) + 999)


LAST: ContextVar[Exchanged] = ContextVar("last_exchanged")
"""Set by the caller, filled in by the strict class: concurrent requests do not see each other's."""


@cache
def strict(cls: Any) -> Any:
    """A subclass of a ccxt exchange class that refuses unusable answers.

    Errors gain `http_status` and `retry_after` (seconds or None). Two hooks are to be set on instances: `on_send` is
    called when a request leaves, behind the throttle; it returns the exchange's time in milliseconds, or raises to
    stop the request. `on_date` is told the date of every answer, in seconds since the epoch.
    """

    class Strict(cls):  # type: ignore[misc] # ccxt's classes are chosen at run time
        on_send: Callable[[], int]
        on_date: Callable[[float], None]

        async def fetch(self, *args: Any, **kwargs: Any) -> Any:
            _last().sent_ms = self.on_send()
            return await super().fetch(*args, **kwargs)

        def parse_ohlcvs(self, ohlcvs: Any, market: Any = None, timeframe: str = "1m", *_since_limit_tail: Any) -> Any:
            # Filtering by `since` would drop rows without a time: an answer full of those would look like "no candles".
            # Sorting is ours to do, too.
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
            exchanged = _last()
            exchanged.dated = dated(headers)
            if exchanged.dated is not None:
                self.on_date(exchanged.dated)
            try:
                super().handle_errors(code, reason, url, method, headers, body, response, request_headers, request_body)
                self.handle_http_status_code(code, reason, url, method, body)
                _refuse(code, body, response)
            except BaseError as error:
                raise _with_facts(error, code, headers, exchanged.sent_ms / 1000) from error.__cause__
            except Exception as error:  # ccxt looks for codes in any JSON and trips over what is not an object
                unreadable = BadResponse(f"HTTP {code} with an unexpected body: {body!r:.200}")
                raise _with_facts(unreadable, code, headers, exchanged.sent_ms / 1000) from error
            exchanged.body = response

    Strict.__name__ = cls.__name__
    return Strict


def _last() -> Exchanged:
    return LAST.get(None) or Exchanged()  # one that nobody looks at: markets are read without


def _refuse(code: int, body: str | None, response: Any) -> None:
    if code >= _CLIENT_ERROR:
        raise ExchangeNotAvailable(f"HTTP {code}")
    if response is None or response == {}:
        raise BadResponse(f"HTTP {code} with a body that is not JSON ({len(body or '')} characters)")


def _with_facts(error: BaseError, code: int, headers: Mapping[str, str], sent: float) -> BaseError:
    """The same error, or a truer class of it: a status of 418, 429 or 5xx wins over a body code that ccxt does not
    know, which would look permanent.
    """
    truer = error
    if code in _TOO_MANY and not isinstance(error, DDoSProtection | RateLimitExceeded):
        truer = RateLimitExceeded(str(error))
    elif code >= _SERVER_ERROR and type(error) in {ExchangeError, BadResponse}:
        truer = ExchangeNotAvailable(str(error))
    truer.http_status = code
    truer.retry_after = retry_after(headers, sent)
    return truer


def retry_after(headers: Mapping[str, str], sent: float | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, never negative and always finite; None if it cannot be read.

    It may hold seconds, a date, or an instant in seconds or milliseconds since the epoch. Instants are counted from the
    answer's own Date, or else from `sent`: when the request left, in seconds since the epoch.
    """
    value = _header(headers, "retry-after")
    if value is None:
        return None
    number = _number(value)
    if number is not None and number < _FIRST_INSTANT:
        return max(0.0, number)
    until = _http_date(value) if number is None else number / 1000 if number >= _FIRST_INSTANT_MS else number
    since = dated(headers) or sent
    return max(0.0, until - since) if until is not None and since else None


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def dated(headers: Mapping[str, str]) -> float | None:
    """The Date header, in seconds since the epoch."""
    value = _header(headers, "date")
    return _http_date(value) if value is not None else None


@lru_cache(maxsize=64)  # many answers within one second
def _http_date(value: str) -> float | None:
    """Cached: all answers of a second carry the same text, and reading it is slow."""
    try:
        date = email.utils.parsedate_to_datetime(value)
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):  # garbage makes the parser raise any of these
        return None


def _header(headers: Mapping[str, str] | None, name: str) -> str | None:
    return next((value for key, value in (headers or {}).items() if key.lower() == name), None)
