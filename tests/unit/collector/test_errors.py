from datetime import UTC, datetime
from typing import Any

import aiohttp
import ccxt
import pytest

from collector.exchange.errors import failure_of
from collector.exchange.strict import dated, retry_after
from contracts.vocabulary import ErrorClass

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def answered(error: Any, status: int, after: float | None = None) -> Exception:
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
        (answered(ccxt.DDoSProtection("x"), 429), ErrorClass.RATE_LIMITED, True),
        (answered(ccxt.DDoSProtection("x"), 418), ErrorClass.BANNED, True),
        (answered(ccxt.RateLimitExceeded("x"), 403), ErrorClass.RATE_LIMITED, True),
        (ccxt.OnMaintenance("x"), ErrorClass.MAINTENANCE, True),
        (answered(ccxt.ExchangeNotAvailable("x"), 503), ErrorClass.UNAVAILABLE, True),
        (answered(ccxt.ExchangeNotAvailable("x"), 404), ErrorClass.BAD_REQUEST, False),
        (answered(ccxt.ExchangeNotAvailable("x"), 451), ErrorClass.UNAVAILABLE, False),
        (caused(ccxt.ExchangeNotAvailable("x"), aiohttp.ClientConnectionError()), ErrorClass.NETWORK, True),
        (caused(ccxt.ExchangeError("x"), aiohttp.ClientPayloadError()), ErrorClass.NETWORK, True),
        (caused(ccxt.RequestTimeout("x"), TimeoutError()), ErrorClass.TIMEOUT, True),
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
def test_foreign_errors_in_our_words(error: Exception, error_class: ErrorClass, retryable: bool) -> None:
    failure = failure_of(error, "kraken", NOON)
    assert (failure.error_class, failure.retryable) == (error_class, retryable)
    assert failure.message.startswith("kraken ")


def test_every_class_of_ccxt_is_translated() -> None:
    def all_below(cls: type) -> list[type]:
        return [cls, *(each for below in cls.__subclasses__() for each in all_below(below))]

    for cls in all_below(ccxt.BaseError):
        assert failure_of(cls("x"), "binance", NOON).error_class is not ErrorClass.BAD_RESPONSE or issubclass(
            cls, ccxt.BadResponse
        )


def test_the_message_says_until_when_to_wait() -> None:
    failure = failure_of(answered(ccxt.DDoSProtection("too much"), 418, 90.0), "binance", NOON)
    assert failure.retry_after == 90.0
    assert "banned" in failure.message
    assert "until 2026-05-04 12:01:30 UTC" in failure.message


def test_the_message_shows_words_and_no_web_page() -> None:
    page = "<html><head><style></style></head>\n\n<h1>502  Bad\tGateway</h1>" + "<p>x</p>" * 1000
    message = failure_of(ccxt.ExchangeNotAvailable(page), "okx", NOON).message
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
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_the_date_of_an_answer() -> None:
    assert dated({"Date": "Mon, 04 May 2026 12:00:00 GMT"}) == NOON.timestamp()
    assert dated({"date": "yesterday"}) is None
