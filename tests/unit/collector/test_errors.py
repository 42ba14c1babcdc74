from datetime import UTC, datetime
from typing import Any

import aiohttp
import ccxt
import pytest

from collector.exchange.errors import is_retry_after_too_long, translate_error
from collector.exchange.failures import ExchangeFailure
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
        (ccxt.RestrictedLocation("x"), ErrorClass.BLOCKED_LOCATION, False),
        (ccxt.RateLimitExceeded("x"), ErrorClass.RATE_LIMITED, True),
        (with_http_details(ccxt.DDoSProtection("x"), 429), ErrorClass.RATE_LIMITED, True),
        (with_http_details(ccxt.DDoSProtection("x"), 418), ErrorClass.BANNED, True),
        (with_http_details(ccxt.RateLimitExceeded("x"), 403), ErrorClass.RATE_LIMITED, True),
        (ccxt.OnMaintenance("x"), ErrorClass.MAINTENANCE, True),
        (with_http_details(ccxt.ExchangeNotAvailable("x"), 503), ErrorClass.UNAVAILABLE, True),
        (with_http_details(ccxt.ExchangeNotAvailable("x"), 404), ErrorClass.BAD_REQUEST, False),
        (with_http_details(ccxt.ExchangeNotAvailable("x"), 451), ErrorClass.BLOCKED_LOCATION, False),
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
    "character", ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\x9b", "\u202e", "\u2028", "\ufeff", "\ud800"]
)
def test_the_message_has_no_characters_that_control_a_terminal(character: str) -> None:
    text = f"too many requests{character}[31m"
    for failure in (
        translate_error(ccxt.ExchangeError(text), "okx", NOON),
        translate_error(with_cause(ccxt.NetworkError("x"), OSError(text)), "okx", NOON),
        ExchangeFailure(ErrorClass.BAD_SYMBOL, text, retryable=False),
    ):
        assert failure.message.isprintable()
        assert str(failure).isprintable()
        assert "too many requests [31m" in failure.message


@pytest.mark.parametrize("after", [60_000.0, float("inf"), float("nan"), -5.0, 1e300])
def test_a_wait_that_is_too_long_is_shortened_to_the_limit(after: float) -> None:
    error = with_http_details(ccxt.DDoSProtection("x"), 418, after)
    failure = translate_error(error, "kraken", NOON, max_wait=3600)
    assert failure.retry_after == {-5.0: 0.0}.get(after, None if after != after else 3600)  # noqa: PLR0124 -- NaN
    assert is_retry_after_too_long(error, 3600) == (after > 3600)
