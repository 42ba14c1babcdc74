"""Subclasses of ccxt's exchange classes that check HTTP responses strictly.

ccxt turns an HTML page, an incomplete body or an unknown status into invalid rows or into "no candles". Its hook
`handle_errors` gets the status, headers and body of the current request. So this hook refuses unusable responses and
adds the status and Retry-After to errors. ccxt's `last_response_headers` may belong to another, concurrent request.
"""

import ssl
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import aiohttp
from ccxt.base.errors import (
    ArgumentsRequired,
    BadRequest,
    BadResponse,
    BaseError,
    DDoSProtection,
    ExchangeError,
    ExchangeNotAvailable,
    NotSupported,
    RateLimitExceeded,
)
from ccxt.base.exchange import BaseExchange
from typing_extensions import override

from collector.exchange.refusal_words import names_too_many_requests, words_of
from collector.exchange.waits import date_header, requested_wait, retry_after
from runtime.tracing.spans import annotate, span

_TOO_MANY: Final = frozenset({418, 429})
_FORBIDDEN: Final = 403
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_NOT_ABOUT_TIME: Final = (ArgumentsRequired, BadRequest, BadResponse, NotSupported)
"""Errors whose response may name a time that is not a time to wait, such as "the pair was listed until 2025-01-01"."""


MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""The largest body of a list of markets. The largest known list is that of Binance, with about 20 MB."""
MAX_CANDLES_BODY_BYTES: Final = 16 * 1024 * 1024
"""The largest body of an answer with candles. A page of 5000 candles has about 1 MB."""


class ResponseTooLarge(BadResponse):  # type: ignore[misc] # ccxt has no types
    """The body is larger than the limit. The request is not repeated, because the next answer would have the same
    size.
    """


class LimitedResponse(aiohttp.ClientResponse):
    """Reads the body up to the limit of the current request. The limit applies to the decompressed body."""

    @override
    async def read(self) -> bytes:
        """Raises `ResponseTooLarge`."""
        if self._body is None:
            limit, size, chunks = _last_request().max_body_bytes, 0, []
            async for chunk in self.content.iter_any():
                size += len(chunk)
                if size > limit:
                    self.close()
                    raise ResponseTooLarge(f"HTTP {self.status} with a body of more than {limit} bytes")
                chunks.append(chunk)
            self._body = b"".join(chunks)
        return self._body


@dataclass
class RequestRecord:
    """The last request of the current task and its response."""

    sent_ms: int = 0
    """The exchange's time when the request was sent."""
    response_date: float | None = None
    """The Date header of the response, seconds since the epoch."""
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    body: Any = None
    """The parsed JSON of the response. This field and the next three are set only if the response is usable."""
    max_body_bytes: int = MAX_BODY_BYTES
    """The limit of the body. A longer body is not read to its end."""

    @property
    def as_of_ms(self) -> int:
        """A time of the exchange. Candles that closed before it are final in the response. It is the time of sending,
        or the response's date if that is earlier.
        """
        if self.response_date is None:
            return self.sent_ms
        return min(self.sent_ms, int(self.response_date * 1000) + 999)


LAST_REQUEST: ContextVar[RequestRecord] = ContextVar("last_request")
"""The caller sets an empty record, and the strict class fills it in. Each concurrent request has its own record."""


def _share_certificates(client: Any) -> None:
    if client.ssl_context is None and client.verify and not client.options.get("include_OS_certificates"):
        client.ssl_context = _trusting(client.cafile)


@cache
def _trusting(file: str) -> ssl.SSLContext:
    """The TLS context. All exchanges share it, because loading the certificates takes 20 ms."""
    return ssl.create_default_context(cafile=file)


def _with_limited_responses(client: Any) -> aiohttp.ClientSession:
    client.session.detach()  # the new session reuses the old session's connector
    return aiohttp.ClientSession(
        connector=client.tcp_connector, trust_env=client.aiohttp_trust_env, response_class=LimitedResponse
    )


@cache
def strict_class(cls: Any) -> Any:
    """A subclass of a ccxt exchange class that refuses unusable responses.

    Errors get attributes, see `add_http_details`. No row of the exchange is dropped, and no row is added. Set two hooks
    on each instance. `on_send` is called after the wait for the rate limit, just before a request is sent. It returns
    the exchange's time in milliseconds, or raises to stop the request. `on_date` is called with the date of every
    response, in seconds since the epoch.
    """

    class Strict(cls):  # type: ignore[misc] # ccxt's classes are chosen at run time
        on_send: Callable[[], int]
        on_date: Callable[[float], None]
        session: Any

        def open(self, *args: Any, **kwargs: Any) -> None:
            before = self.session
            _share_certificates(self)
            super().open(*args, **kwargs)
            if self.session is not before and self.session is not None:
                self.session = _with_limited_responses(self)

        async def fetch(self, *args: Any, **kwargs: Any) -> Any:
            _last_request().sent_ms = self.on_send()
            with span("exchange request", exchange=self.id):
                return await super().fetch(*args, **kwargs)

        def parse_ohlcvs(self, ohlcvs: Any, market: Any = None, timeframe: str = "1m", *_since_limit_tail: Any) -> Any:
            # ccxt's filter by `since` would drop rows without a time: a response of such rows would look like "no
            # candles". `read_page` filters and sorts instead.
            if cls.parse_ohlcvs is BaseExchange.parse_ohlcvs:
                return [self.parse_ohlcv(row, market) for row in ohlcvs or ()]
            return super().parse_ohlcvs(ohlcvs, market, timeframe)

        def insert_missing_candles(self, candles: Any, *_: Any) -> Any:
            # Bitopro's class fills gaps with copies of rows, and assumes that the rows are sorted. A copy is not a
            # candle of the exchange.
            return candles

        def handle_errors(self, *values: Any) -> None:
            code, reason, url, method, headers, body, response, *_request = values
            annotate(http_status=code)
            record = _last_request()
            record.response_date = date_header(headers)
            if record.response_date is not None:
                self.on_date(record.response_date)
            by_status = False
            try:
                super().handle_errors(*values)
                by_status = True
                self.handle_http_status_code(code, reason, url, method, body)
                _raise_if_unusable(code, body, response)
            except Exception as error:  # noqa: BLE001 -- ccxt can raise any exception for an unexpected body
                failure = _error_of_ccxt(error, code, body)
                failure = _with_corrected_class(failure, code, words_of(body or "", response), by_status=by_status)
                add_http_details(failure, code, headers, body or "", response, record.sent_ms / 1000)
                raise failure from failure.__cause__
            record.status, record.headers, record.text, record.body = code, headers, body or "", response

    Strict.__name__ = cls.__name__
    return Strict


def _last_request() -> RequestRecord:
    return LAST_REQUEST.get(None) or RequestRecord()  # a request for markets has no record


def _raise_if_unusable(code: int, body: str | None, response: Any) -> None:
    if code >= _CLIENT_ERROR:
        raise ExchangeNotAvailable(f"HTTP {code}")
    if response is None or response == {}:
        raise BadResponse(f"HTTP {code} with a body that is not JSON ({len(body or '')} characters)")


def _error_of_ccxt(error: Exception, code: int, body: str | None) -> BaseError:
    """The error if it is one of ccxt's, otherwise a `BadResponse`. ccxt searches every JSON for codes, and raises
    errors of Python if the JSON is not an object.
    """
    if isinstance(error, BaseError):
        return error
    failure = BadResponse(f"HTTP {code} with an unexpected body: {body!r:.200}")
    failure.__cause__ = error
    return failure


def _with_corrected_class(error: BaseError, code: int, words: str, *, by_status: bool) -> BaseError:
    """The error, with another ccxt class if the HTTP status contradicts its class.

    If ccxt does not know the code in the body, it raises an error that looks permanent. Then a status of 418, 429 or
    5xx decides the class of the error. For some exchanges ccxt treats every 403 as a rate limit (`by_status`: the
    status decided), although their content delivery network also sends a 403 for other reasons.
    """
    refused = isinstance(error, DDoSProtection | RateLimitExceeded)
    is_unknown = type(error) in {ExchangeError, BadResponse}
    is_other_403 = code == _FORBIDDEN and refused and by_status and not names_too_many_requests(words)
    if code in _TOO_MANY and not refused:
        corrected: BaseError = RateLimitExceeded(str(error))
    elif (code >= _SERVER_ERROR and is_unknown) or is_other_403:
        corrected = ExchangeNotAvailable(str(error))
    else:
        return error
    corrected.__cause__ = error.__cause__
    return corrected


def add_http_details(
    error: BaseError, code: int, headers: Mapping[str, str], text: str, body: Any, sent: float
) -> None:
    """Add the attributes `http_status`, `retry_after` (seconds or None) and `words` to an error. `text` and `body`: the
    response as text and as JSON. `sent`: when the request was sent, seconds since the epoch.
    """
    refused = code in _TOO_MANY or isinstance(error, DDoSProtection | RateLimitExceeded)
    error.http_status = code
    if refused or not isinstance(error, _NOT_ABOUT_TIME):
        error.retry_after = requested_wait(headers, text, body, sent, refused=refused)
    else:
        error.retry_after = retry_after(headers, sent)
    error.words = words_of(text, body)
