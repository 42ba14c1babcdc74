"""Error class and retryability for each kind of error response, through ccxt's own classes."""

from collections.abc import Callable
from typing import Any

import pytest

from contracts.vocabulary import ErrorClass
from support.collecting import EXCHANGES, Exchanges, rows_of
from support.error_responses import (
    CHALLENGE,
    CLOUDFLARE_COUNTRY,
    CLOUDFRONT_BLOCKED,
    CLOUDFRONT_COUNTRY,
    HTML,
    MINUTE_ROW,
    PAGES,
    failure_from,
)
from support.stub_exchange import StubExchange


@pytest.mark.parametrize(
    ("status", "body", "error_class", "retryable"),
    [
        (418, HTML, ErrorClass.BANNED, True),
        (418, {"code": -1003, "msg": "Way too much request weight used; IP banned"}, ErrorClass.BANNED, True),
        (429, {"code": -1003, "msg": "Too many requests"}, ErrorClass.RATE_LIMITED, True),
        (429, HTML, ErrorClass.RATE_LIMITED, True),
        (429, '"slow down"', ErrorClass.RATE_LIMITED, True),
        (400, {"code": -1003, "msg": "Too many requests"}, ErrorClass.RATE_LIMITED, True),
        (400, {"code": -1121, "msg": "Invalid symbol."}, ErrorClass.BAD_SYMBOL, False),
        (400, {"code": -1120, "msg": "Invalid interval."}, ErrorClass.BAD_REQUEST, False),
        (400, {"code": -1100, "msg": "Illegal characters"}, ErrorClass.BAD_REQUEST, False),
        (400, {"code": -1000, "msg": "An unknown error occurred"}, ErrorClass.EXCHANGE_ERROR, True),
        (400, {"code": -4242, "msg": "unknown"}, ErrorClass.EXCHANGE_ERROR, True),
        (401, {"code": -2015, "msg": "Invalid API-key"}, ErrorClass.AUTHENTICATION, False),
        (503, {"code": -1008, "msg": "Server is currently overloaded"}, ErrorClass.UNAVAILABLE, True),
        (504, {"code": -1007, "msg": "Timeout waiting for response"}, ErrorClass.TIMEOUT, True),
        (451, {"code": 0, "msg": "Service unavailable from a restricted location"}, ErrorClass.BLOCKED_LOCATION, False),
        (451, HTML, ErrorClass.BLOCKED_LOCATION, False),
        (403, CLOUDFRONT_COUNTRY, ErrorClass.BLOCKED_LOCATION, False),
        (403, CLOUDFLARE_COUNTRY, ErrorClass.BLOCKED_LOCATION, False),
        (403, {"error": "restricted_location"}, ErrorClass.BLOCKED_LOCATION, False),
        (200, {"code": 7, "msg": "Our service is not available in your region"}, ErrorClass.BLOCKED_LOCATION, False),
        (403, CLOUDFRONT_BLOCKED, ErrorClass.UNAVAILABLE, True),
        (403, CHALLENGE, ErrorClass.UNAVAILABLE, True),
        (403, {"msg": "IP is not in the whitelist: access restricted"}, ErrorClass.UNAVAILABLE, True),
        (403, {"code": -1003, "msg": "Way too many requests; IP banned until 1748865690000."}, ErrorClass.BANNED, True),
        (429, {"code": -1003, "msg": "Way too many requests; IP banned until 1748865690000."}, ErrorClass.BANNED, True),
        (429, {"code": -1003, "msg": "Too many requests; you will be banned"}, ErrorClass.RATE_LIMITED, True),
        (200, {"code": 4711, "msg": "Too many requests, slow down"}, ErrorClass.RATE_LIMITED, True),
        (200, {"code": 4711, "msg": "The system is under maintenance"}, ErrorClass.MAINTENANCE, True),
        (200, {"code": 4711, "msg": "Your IP address has been banned"}, ErrorClass.BANNED, True),
        (404, HTML, ErrorClass.BAD_REQUEST, False),
        (403, HTML, ErrorClass.UNAVAILABLE, True),
        (408, HTML, ErrorClass.TIMEOUT, True),
        (500, HTML, ErrorClass.UNAVAILABLE, True),
        (503, HTML, ErrorClass.UNAVAILABLE, True),
        (523, HTML, ErrorClass.UNAVAILABLE, True),
        (599, HTML, ErrorClass.UNAVAILABLE, True),
        (200, HTML, ErrorClass.BAD_RESPONSE, True),
        (200, '[[1748865600000,"1.0","2.', ErrorClass.BAD_RESPONSE, True),
        (200, "", ErrorClass.BAD_RESPONSE, True),
        (200, "null", ErrorClass.BAD_RESPONSE, True),
        (200, {}, ErrorClass.BAD_RESPONSE, True),
        (200, {"unexpected": []}, ErrorClass.BAD_RESPONSE, True),
        (200, [[None] * 6], ErrorClass.INVALID_DATA, True),
        (200, [["NaN"] * 6], ErrorClass.INVALID_DATA, True),
    ],
)
async def test_error_responses_of_binance(
    status: int,
    body: Any,
    error_class: ErrorClass,
    retryable: bool,
    stub_exchange: StubExchange,
    exchanges_at: Callable[..., Exchanges],
) -> None:
    stub_exchange.respond_with(body, status, content_type="text/html" if body in PAGES else "application/json")
    exchanges = exchanges_at(stub_exchange.base)
    failure = await failure_from("binance", exchanges)
    assert (failure.error_class, failure.retryable) == (error_class, retryable), failure.message
    assert len(stub_exchange.candle_requests) == 1
    assert "<" not in failure.message


async def test_a_truncated_body_that_makes_ccxt_raise_an_error_of_python(
    stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    stub_exchange.respond_with('[[1748865600000,"1.0","2.', content_type="application/octet-stream")
    assert (await failure_from("binance", exchanges_at(stub_exchange.base))).error_class is ErrorClass.BAD_RESPONSE


@pytest.mark.parametrize(
    ("exchange", "status", "body", "error_class", "retryable"),
    [
        ("kraken", 200, {"error": ["EAPI:Rate limit exceeded"]}, ErrorClass.RATE_LIMITED, True),
        ("kraken", 200, {"error": ["EGeneral:Too many requests"]}, ErrorClass.RATE_LIMITED, True),
        ("kraken", 429, HTML, ErrorClass.RATE_LIMITED, True),
        ("kraken", 200, {"error": ["EService:Unavailable"]}, ErrorClass.UNAVAILABLE, True),
        ("kraken", 200, {"error": ["EQuery:Unknown asset pair"]}, ErrorClass.BAD_SYMBOL, False),
        ("kraken", 200, {"error": ["EService:Deadline elapsed"]}, ErrorClass.EXCHANGE_ERROR, True),
        ("kraken", 200, {"error": [], "result": {}}, ErrorClass.BAD_RESPONSE, True),
        ("bybit", 200, {"retCode": 10001, "retMsg": "Not supported symbols"}, ErrorClass.BAD_SYMBOL, False),
        ("bybit", 403, {"retCode": 10006, "retMsg": "Too many visits"}, ErrorClass.RATE_LIMITED, True),
        ("bybit", 403, "403, access too frequent", ErrorClass.RATE_LIMITED, True),
        ("bybit", 403, CLOUDFRONT_COUNTRY, ErrorClass.BLOCKED_LOCATION, False),
        ("bybit", 403, CLOUDFRONT_BLOCKED, ErrorClass.UNAVAILABLE, True),
        ("bybit", 403, HTML, ErrorClass.UNAVAILABLE, True),
        ("bybit", 403, {"retCode": 10024, "retMsg": "regulatory restrictions"}, ErrorClass.BLOCKED_LOCATION, False),
        ("bybit", 200, {"retCode": 10009, "retMsg": "IP has been banned"}, ErrorClass.BANNED, True),
        ("bybit", 200, {"retCode": 10016, "retMsg": "x", "result": {"list": []}}, ErrorClass.EXCHANGE_ERROR, True),
        ("okx", 200, {"code": "50001", "msg": "system busy", "data": []}, ErrorClass.MAINTENANCE, True),
        ("coinbase", 200, {"success": False, "candles": []}, ErrorClass.EXCHANGE_ERROR, True),
        ("coinbase", 200, {"code": 50001, "msg": "system busy", "candles": []}, ErrorClass.EXCHANGE_ERROR, True),
        ("coinbase", 200, {"message": "system busy", "candles": []}, ErrorClass.BAD_RESPONSE, True),
        ("bybit", 429, {"retCode": 10429, "retMsg": "System level frequency"}, ErrorClass.RATE_LIMITED, True),
        ("bybit", 200, {"retCode": 10016, "retMsg": "Service error"}, ErrorClass.EXCHANGE_ERROR, True),
        ("okx", 200, {"code": "51001", "msg": "Instrument does not exist"}, ErrorClass.BAD_SYMBOL, False),
        ("okx", 429, {"code": "50011", "msg": "Too Many Requests"}, ErrorClass.RATE_LIMITED, True),
        ("okx", 503, {"code": "50001", "msg": "Service temporarily unavailable"}, ErrorClass.MAINTENANCE, True),
        ("okx", 200, {"code": "51000", "msg": "Parameter bar error"}, ErrorClass.BAD_REQUEST, False),
        ("coinbase", 404, {"error": "NOT_FOUND"}, ErrorClass.BAD_SYMBOL, False),
        ("coinbase", 400, {"error": "INVALID_ARGUMENT"}, ErrorClass.BAD_REQUEST, False),
        ("coinbase", 429, {"error": "resource_exhausted"}, ErrorClass.RATE_LIMITED, True),
        ("coinbase", 503, {"error": "unavailable"}, ErrorClass.UNAVAILABLE, True),
    ],
)
async def test_error_responses_of_other_exchanges(
    exchange: str,
    status: int,
    body: Any,
    error_class: ErrorClass,
    retryable: bool,
    stub_exchange: StubExchange,
    exchanges_at: Callable[..., Exchanges],
) -> None:
    stub_exchange.respond_with(body, status)
    failure = await failure_from(exchange, exchanges_at(stub_exchange.base))
    assert (failure.error_class, failure.retryable) == (error_class, retryable), failure.message


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize(
    ("status", "body", "error_class"),
    [
        (200, HTML, ErrorClass.BAD_RESPONSE),
        (200, "", ErrorClass.BAD_RESPONSE),
        (200, '{"error":[],"result":{"XXBTZUSD":[[179534', ErrorClass.BAD_RESPONSE),
        (200, "[1, 2]", ErrorClass.INVALID_DATA),
        (200, {"message": "hello"}, ErrorClass.BAD_RESPONSE),
        (524, HTML, ErrorClass.UNAVAILABLE),
        (418, HTML, ErrorClass.BANNED),
        (429, HTML, ErrorClass.RATE_LIMITED),
    ],
)
async def test_an_unusable_response_never_counts_as_no_candles(
    exchange: str,
    status: int,
    body: Any,
    error_class: ErrorClass,
    stub_exchange: StubExchange,
    exchanges_at: Callable[..., Exchanges],
) -> None:
    stub_exchange.respond_with(body, status)
    failure = await failure_from(exchange, exchanges_at(stub_exchange.base))
    if body == "[1, 2]":  # ccxt's class detects it for some exchanges, the validation of rows for others
        assert failure.error_class in {ErrorClass.BAD_RESPONSE, ErrorClass.INVALID_DATA, ErrorClass.EXCHANGE_ERROR}
    elif exchange in {"bybit", "okx"} and body == {"message": "hello"}:  # without a code, ccxt treats it as an error
        assert failure.error_class is ErrorClass.EXCHANGE_ERROR
    else:
        assert failure.error_class is error_class, failure.message
    assert failure.retryable


@pytest.mark.parametrize(
    ("exchange", "body"),
    [
        ("binance", []),
        ("kraken", {"error": [], "result": {"XXBTZUSD": [], "last": 1}}),
        ("coinbase", {"candles": []}),
        ("coinbase", {"candles": None}),
        ("coinbase", {"candles": {}}),
        ("bybit", {"retCode": 0, "retMsg": "OK", "result": {}}),
        ("okx", {"code": "0", "msg": "", "data": None}),
        ("bybit", {"retCode": 0, "retMsg": "OK", "result": {"category": "spot", "symbol": "BTCUSDT", "list": []}}),
        ("okx", {"code": "0", "msg": "", "data": []}),
    ],
)
async def test_a_valid_response_without_candles_is_a_success(
    exchange: str, body: Any, stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    stub_exchange.respond_with(body)
    timeframe_run = await exchanges_at(stub_exchange.base).collect(exchange)
    assert (rows_of(timeframe_run), timeframe_run.failure) == ([], None)


async def test_an_unreachable_server_is_a_network_failure(
    unused_tcp_port: int, exchanges_at: Callable[..., Exchanges]
) -> None:
    failure = await failure_from("binance", exchanges_at(f"http://127.0.0.1:{unused_tcp_port}"))
    assert (failure.error_class, failure.retryable) == (ErrorClass.NETWORK, True)


@pytest.mark.parametrize(
    "row", [[MINUTE_ROW[0] - 60_000, "NaN", "inf", "abc", None, "1"], [MINUTE_ROW[0] - 1, "1", "2", "0.5", "1.5", "1"]]
)
async def test_one_row_that_no_candle_can_be_is_rejected_and_its_neighbour_is_collected(
    row: list[Any], stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    stub_exchange.respond_with([MINUTE_ROW, row])
    timeframe_run = await exchanges_at(stub_exchange.base).collect("binance")
    assert [each[0] for each in rows_of(timeframe_run)] == [MINUTE_ROW[0]]
    assert timeframe_run.result().rejected_count == 1
