import email.utils
from datetime import UTC, datetime
from typing import Any

import aiohttp
import ccxt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collector.exchange.errors import LONGEST_RETRY_AFTER, is_retry_after_too_long, translate_error
from collector.exchange.waits import date_header, retry_after
from contracts.vocabulary import ErrorClass

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def with_cause(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def with_http_details(error: Any, status: int, after: float | None = None) -> Exception:
    error.http_status, error.retry_after = status, after
    return error


@pytest.mark.parametrize(
    ("error", "error_class", "retryable"),
    [
        (ccxt.BadSymbol("x"), ErrorClass.BAD_SYMBOL, False),
        (ccxt.BadRequest("x"), ErrorClass.BAD_REQUEST, False),
        (ccxt.ArgumentsRequired("x"), ErrorClass.BAD_REQUEST, False),
        (ccxt.NotSupported("x"), ErrorClass.NOT_SUPPORTED, False),
        (ccxt.PermissionDenied("x"), ErrorClass.AUTHENTICATION, False),
        (ccxt.RestrictedLocation("x"), ErrorClass.EXCHANGE_ERROR, False),
        (ccxt.RateLimitExceeded("x"), ErrorClass.RATE_LIMITED, True),
        (with_http_details(ccxt.DDoSProtection("x"), 429), ErrorClass.RATE_LIMITED, True),
        (with_http_details(ccxt.DDoSProtection("x"), 418), ErrorClass.BANNED, True),
        (with_http_details(ccxt.RateLimitExceeded("x"), 403), ErrorClass.RATE_LIMITED, True),
        (ccxt.OnMaintenance("x"), ErrorClass.MAINTENANCE, True),
        (with_http_details(ccxt.ExchangeNotAvailable("x"), 503), ErrorClass.UNAVAILABLE, True),
        (with_http_details(ccxt.ExchangeNotAvailable("x"), 404), ErrorClass.BAD_REQUEST, False),
        (with_http_details(ccxt.ExchangeNotAvailable("x"), 451), ErrorClass.UNAVAILABLE, False),
        (with_cause(ccxt.ExchangeNotAvailable("x"), aiohttp.ClientConnectionError()), ErrorClass.NETWORK, True),
        (with_cause(ccxt.ExchangeError("x"), aiohttp.ClientPayloadError()), ErrorClass.NETWORK, True),
        (with_cause(ccxt.RequestTimeout("x"), TimeoutError()), ErrorClass.TIMEOUT, True),
        (ccxt.InvalidNonce("x"), ErrorClass.EXCHANGE_ERROR, True),
        (ccxt.NetworkError("x"), ErrorClass.NETWORK, True),
        (ccxt.NullResponse("x"), ErrorClass.BAD_RESPONSE, True),
        (ccxt.OperationFailed("x"), ErrorClass.EXCHANGE_ERROR, True),
        (ccxt.ExchangeError("x"), ErrorClass.EXCHANGE_ERROR, True),
        (ccxt.ExchangeError('kraken {"error":["EQuery:Unknown asset pair"]}'), ErrorClass.BAD_SYMBOL, False),
        (TypeError("object StreamReader can't be used"), ErrorClass.BAD_RESPONSE, True),
        (KeyError("list"), ErrorClass.BAD_RESPONSE, True),
        (TimeoutError(), ErrorClass.TIMEOUT, True),
        (ConnectionResetError(), ErrorClass.NETWORK, True),
    ],
)
def test_errors_of_ccxt_and_aiohttp_are_translated(error: Exception, error_class: ErrorClass, retryable: bool) -> None:
    failure = translate_error(error, "kraken", NOON)
    assert (failure.error_class, failure.retryable) == (error_class, retryable)
    assert failure.message.startswith("kraken ")


def test_every_class_of_ccxt_is_translated() -> None:
    def with_subclasses(cls: type) -> list[type]:
        return [cls, *(each for subclass in cls.__subclasses__() for each in with_subclasses(subclass))]

    for cls in with_subclasses(ccxt.BaseError):
        assert translate_error(cls("x"), "binance", NOON).error_class is not ErrorClass.BAD_RESPONSE or issubclass(
            cls, ccxt.BadResponse
        )


def test_the_message_contains_the_end_of_the_retry_after() -> None:
    failure = translate_error(with_http_details(ccxt.DDoSProtection("too much"), 418, 90.0), "binance", NOON)
    assert failure.retry_after == 90.0
    assert "banned" in failure.message
    assert "until 2026-05-04 12:01:30 UTC" in failure.message


def test_the_message_contains_the_text_of_an_html_page_without_tags() -> None:
    page = "<html><head><style></style></head>\n\n<h1>502  Bad\tGateway</h1>" + "<p>x</p>" * 1000
    message = translate_error(ccxt.ExchangeNotAvailable(page), "okx", NOON).message
    assert "502 Bad Gateway" in message
    assert "<" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "30"}, 30.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"Retry-After": "-3"}, 0.0),
        ({}, None),
        ({"Retry-After": "soon"}, None),
        ({"RETRY-AFTER": "Mon, 04 May 2026 12:02:00 GMT", "Date": "Mon, 04 May 2026 12:00:00 GMT"}, 120.0),
        ({"Retry-After": "Mon, 04 May 2026 12:02:00 GMT"}, None),
    ],
)
def test_each_form_of_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1777896120", 120.0),
        ("1777896120000", 120.0),
        ("1000000000000", 0.0),
        ("inf", None),
        ("nan", None),
        ("-inf", None),
        ("1e999", None),
        ("Mon, 04 May 9999999 12:02:00 GMT", None),
        ("Mon, 04 May 2026 12:02:00 -0000", 120.0),
    ],
)
def test_timestamps_are_read_and_invalid_values_are_ignored(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value, "Date": "Mon, 04 May 2026 12:00:00 GMT"}) == seconds
    assert retry_after({"Retry-After": value}, NOON.timestamp()) == seconds


HEADER_VALUES = st.one_of(
    st.text(),
    st.floats().map(str),
    st.integers().map(str),
    st.integers(10, 400).map(lambda digits: "9" * digits),
    st.datetimes().map(email.utils.format_datetime),
    st.from_regex(r"[A-Z][a-z]{2}, -?\d{1,3} [A-Z][a-z]{2} \d{1,12} \d{1,3}:\d{1,3}:\d{1,3} ([+-]\d{1,9}|GMT|\w*)"),
    st.sampled_from(["1e12", "1e308", "-1e308", "Infinity", "60000", "Fri, 31 Dec 9999 23:59:59 GMT"]),
)


@settings(max_examples=500)
@given(after=HEADER_VALUES, date=st.none() | HEADER_VALUES, status=st.sampled_from([400, 418, 429, 503]))
@example(after="1e12", date=None, status=429)
@example(after="inf", date=None, status=418)
@example(after="1e300", date=None, status=418)
def test_any_headers_give_no_wait_or_a_wait_between_zero_and_a_day(after: str, date: str | None, status: int) -> None:
    headers = {"Retry-After": after} | ({} if date is None else {"Date": date})
    error = _with_http_details(ccxt.ExchangeError("x"), status, headers, NOON.timestamp())
    failure = translate_error(error, "kraken", NOON)
    assert failure.retry_after is None or 0 <= failure.retry_after <= LONGEST_RETRY_AFTER


@pytest.mark.parametrize("after", [60_000.0, float("inf"), float("nan"), -5.0, 1e300])
def test_a_wait_that_is_too_long_is_shortened_to_the_limit(after: float) -> None:
    error = with_http_details(ccxt.DDoSProtection("x"), 418, after)
    failure = translate_error(error, "kraken", NOON, max_wait=3600)
    assert failure.retry_after == {-5.0: 0.0}.get(after, None if after != after else 3600)  # noqa: PLR0124 -- NaN
    assert is_retry_after_too_long(error, 3600) == (after > 3600)


def test_the_date_header_is_read() -> None:
    assert date_header({"Date": "Mon, 04 May 2026 12:00:00 GMT"}) == NOON.timestamp()
    assert date_header({"date": "yesterday"}) is None
