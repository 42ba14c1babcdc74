"""Error class and retryability for each kind of error response, through ccxt's own classes."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from collector.exchange.circuit_transitions import ProbePolicy
from collector.exchange.failures import ExchangeFailure
from collector.exchange.strict_http import MAX_CANDLES_BODY_BYTES
from collector.run.retry_policy import RetryPolicy
from contracts.vocabulary import ErrorClass
from support.collecting import EXCHANGES, Exchanges, rows_of, symbol_of
from support.polling import eventually
from support.stub_exchange import StubExchange

NO_RETRIES = RetryPolicy(max_retries=0, max_retries_by_class={})
HTML = "<html><head><title>Attention Required!</title></head><body><h1>Sorry</h1></body></html>"
CLOUDFRONT_COUNTRY = """<HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY>
<H1>403 ERROR</H1><H2>The request could not be satisfied.</H2>
The Amazon CloudFront distribution is configured to block access from your country. We can't connect to the server for
this app or website at this time. There might be too much traffic or a configuration error.</BODY></HTML>"""
CLOUDFRONT_BLOCKED = """<HTML><BODY><H1>403 ERROR</H1>Request blocked. We can't connect to the server for this app or
website at this time. There might be too much traffic or a configuration error.</BODY></HTML>"""
CLOUDFLARE_COUNTRY = """<html><head><title>Access denied</title></head><body>Error 1009. The owner of this website
(api.example.com) has banned the country or region your IP address is in (XX) from accessing it.</body></html>"""
CHALLENGE = """<html><head><title>Just a moment...</title><style>#region {color: red}</style><script>
window.location.reload(); var country = "restricted";</script></head><body>Enable JavaScript and cookies to continue
</body></html>"""
PAGES = (HTML, CLOUDFRONT_COUNTRY, CLOUDFRONT_BLOCKED, CLOUDFLARE_COUNTRY, CHALLENGE)
NOW_MS = 1_748_865_630_000
MINUTE_ROW = [NOW_MS // 60_000 * 60_000 - 60_000, "1.0", "2.0", "0.5", "1.5", "10"]


async def failure_from(exchange: str, exchanges: Exchanges) -> ExchangeFailure:
    with pytest.raises(ExchangeFailure) as caught:
        await exchanges.collect(exchange, policy=NO_RETRIES)
    return caught.value


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


@pytest.mark.parametrize(
    ("status", "body", "headers", "seconds"),
    [
        (429, {"code": -1003, "msg": f"IP banned until {NOW_MS + 90_000}. Please use"}, {}, 90.0),
        (418, {"code": -1003, "msg": "IP banned until 2025-06-02 12:02:00"}, {"Retry_After": "soon"}, 90.0),
        (418, {"code": -1003, "msg": "IP banned until 2025-06-02 12:02:00"}, {"Retry_After": "5"}, 5.0),
        (429, {"code": -1003, "msg": "Too many requests", "retryAfter": 30}, {}, 30.0),
        (200, {"code": 4711, "msg": "Too many requests, retry after 30 s"}, {}, 30.0),
        (429, HTML, {"Retry_After": "1748865690"}, 60.0),
        (429, HTML, {"Retry_After": "1748865690000"}, 60.0),
        (429, HTML, {"Retry_After": "4102444800"}, 86_400.0),
        (429, HTML, {"Retry_After": "9" * 30}, None),
        (429, HTML, {"X_RateLimit_Reset": "1748865690"}, 60.0),
        (418, HTML, {"Retry_After": "60000"}, 60_000.0),
        (429, HTML, {"Retry_After": "60000", "X_RateLimit_Reset": "58"}, 60.0),
        (400, {"code": -1121, "msg": "Invalid symbol; it was listed until 2099-01-01 00:00:00"}, {}, None),
    ],
)
async def test_the_time_that_a_refusal_names_is_kept_within_a_day(
    status: int,
    body: Any,
    headers: dict[str, str],
    seconds: float | None,
    stub_exchange: StubExchange,
    exchanges_at: Callable[..., Exchanges],
) -> None:
    exchanges = exchanges_at(stub_exchange.base)
    await exchanges.warm_up("binance")
    stub_exchange.respond_with(body, status, **headers)
    failure = await failure_from("binance", exchanges)
    assert failure.retry_after == pytest.approx(seconds, abs=1.0)
    assert "defect" not in failure.message


async def test_a_blocked_location_has_the_right_words_and_is_not_requested_again_and_again(
    stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    policy = ProbePolicy(initial_wait=0.05, max_wait=300, failure_limit=3)
    exchanges = exchanges_at(stub_exchange.base, probe_policy=policy)
    stub_exchange.respond_with(CLOUDFRONT_COUNTRY, 403, content_type="text/html")
    messages = []
    for _ in range(20):
        with pytest.raises(ExchangeFailure) as caught:
            await exchanges.collect("bybit")
        messages.append(caught.value.message)
        assert caught.value.error_class is ErrorClass.BLOCKED_LOCATION
    assert len(stub_exchange.candle_requests) == 3
    assert messages[0].startswith("bybit does not serve the location of this collector (HTTP 403)")
    assert messages[-1].startswith("bybit does not serve the location of this collector; next probe at")
    assert not any("too many" in message for message in messages)


async def test_a_refusal_with_http_200_that_names_a_rate_limit_suspends_all_requests(
    stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(stub_exchange.base)
    stub_exchange.respond_with({"success": False, "msg": "rate limit exceeded, retry after 300 s", "candles": []})
    for _ in range(5):
        assert (await failure_from("coinbase", exchanges)).error_class is ErrorClass.RATE_LIMITED
    assert len(stub_exchange.candle_requests) == 1


async def test_the_wait_of_a_refused_list_of_markets_may_be_an_instant(
    stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(stub_exchange.base)
    stub_exchange.markets_refusal = (429, b'{"msg": "IP banned until 1748865690000"}')
    failure = await failure_from("binance", exchanges)
    assert failure.error_class is ErrorClass.BANNED
    assert failure.retry_after == pytest.approx(60.0, abs=1.0)


@pytest.mark.parametrize("status", [200, 503])
async def test_a_body_without_end_is_not_read_to_its_end_and_not_requested_again(
    status: int, stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(stub_exchange.base)
    await exchanges.warm_up("binance")
    stub_exchange.respond_with(b"[" + b" " * MAX_CANDLES_BODY_BYTES + b"]", status)
    failure = await failure_from("binance", exchanges)
    assert (failure.error_class, failure.retryable) == (ErrorClass.BAD_RESPONSE, False)
    assert f"HTTP {status} with a body of more than {MAX_CANDLES_BODY_BYTES} bytes" in failure.message
    stub_exchange.respond_with([MINUTE_ROW])
    assert rows_of(await exchanges.collect("binance")), "the next request gets a usable response"


async def test_an_unreachable_server_is_a_network_failure(
    unused_tcp_port: int, exchanges_at: Callable[..., Exchanges]
) -> None:
    failure = await failure_from("binance", exchanges_at(f"http://127.0.0.1:{unused_tcp_port}"))
    assert (failure.error_class, failure.retryable) == (ErrorClass.NETWORK, True)


@pytest.mark.parametrize(("exchange", "timeframe"), [("coinbase", "4h"), ("kraken", "3m"), ("okx", "7m")])
async def test_an_unsupported_timeframe_fails_without_a_request(
    exchange: str, timeframe: str, stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    with pytest.raises(ExchangeFailure, match="only 1m, ") as caught:
        await exchanges_at(stub_exchange.base).collect(exchange, timeframe)
    assert (caught.value.error_class, caught.value.retryable) == (ErrorClass.NOT_SUPPORTED, False)


@pytest.mark.parametrize("exchange", ["nosuchexchange", "bitmex"])
async def test_an_exchange_that_ccxt_does_not_support_fails(
    exchange: str, exchanges_at: Callable[..., Exchanges]
) -> None:
    with pytest.raises(ExchangeFailure) as caught:
        await exchanges_at("http://127.0.0.1:1").collect(exchange)
    assert caught.value.error_class is ErrorClass.NOT_SUPPORTED


async def test_an_unknown_symbol_fails_without_a_request_for_candles(
    stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    with pytest.raises(ExchangeFailure, match="binance has no market NOPE/USDT") as caught:
        await exchanges_at(stub_exchange.base).collect("binance", symbol="NOPE/USDT")
    assert (caught.value.error_class, caught.value.retryable) == (ErrorClass.BAD_SYMBOL, False)
    assert stub_exchange.candle_requests == []


async def test_concurrent_requests_keep_their_errors_apart(
    stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(stub_exchange.base)
    stub_exchange.respond_with({"code": -1003, "msg": "x"}, 429, Retry_After="7")
    client = exchanges.clients.get("binance")
    await client.require("BTC/USDT", "1m")
    failures = await asyncio.gather(
        *(client.fetch("BTC/USDT", "1m", NOW_MS - 60_000 * n, 5) for n in range(5)), return_exceptions=True
    )
    assert all(isinstance(each, ExchangeFailure) and each.retry_after is not None for each in failures)
    assert all(6 < each.retry_after <= 7 for each in failures)  # type: ignore[union-attr]
    assert exchanges.count("candlekeep_exchange_requests_total", exchange="binance", outcome="rate_limited") >= 1


async def test_the_markets_of_swaps_are_read_only_for_symbols_of_swaps(
    stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(stub_exchange.base)
    stub_exchange.respond_with(json.dumps([MINUTE_ROW]))
    await exchanges.collect("binance", symbol="BTC/USDT")
    assert exchanges.count("candlekeep_markets_loaded", exchange="binance", kind="swap") == 0
    await exchanges.collect("binance", symbol="BTC/USDT:USDT")
    assert exchanges.count("candlekeep_markets_loaded", exchange="binance", kind="swap") > 10
    assert ["/fapi." in url for url in stub_exchange.candle_requests] == [False, True]
    assert symbol_of("binance") == "BTC/USDT"


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


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("BTC/USD:BTC-240628", "BTC/USD:BTC-240628 is a dated future that expires on 2024-06-28"),
        ("BTC/USD:BTC-240628-60000-C", "BTC/USD:BTC-240628-60000-C is an option that expires on 2024-06-28"),
    ],
)
async def test_dated_futures_and_options_fail_with_their_kind_and_without_a_request(
    symbol: str, words: str, stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    stub_exchange.markets_refusal = (500, b"no request was expected")
    with pytest.raises(ExchangeFailure) as caught:
        await exchanges_at(stub_exchange.base).collect("okx", symbol=symbol)
    assert (caught.value.error_class, caught.value.retryable) == (ErrorClass.NOT_SUPPORTED, False)
    assert caught.value.message.startswith(words)


@pytest.mark.parametrize(
    ("symbol", "hint"),
    [
        ("btc/usdt", "Did you mean BTC/USDT?"),
        ("Btc/Usdt", "Did you mean BTC/USDT?"),
        ("BTC/USDT:USD", "Did you mean BTC/USDT:USDT?"),
    ],
)
async def test_a_symbol_that_differs_only_by_case_or_settle_currency_gets_a_hint(
    symbol: str, hint: str, stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    with pytest.raises(ExchangeFailure) as caught:
        await exchanges_at(stub_exchange.base).collect("binance", symbol=symbol)
    assert caught.value.error_class is ErrorClass.BAD_SYMBOL
    assert hint in caught.value.message


async def test_a_spot_symbol_that_only_exists_as_a_swap_gets_a_hint(
    stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    stub_exchange.markets["/api.binance.com/api/v3/exchangeInfo"] = {"symbols": [binance_market("ETH", "TRADING")]}
    exchanges = exchanges_at(stub_exchange.base)

    async def has_hint() -> bool:  # the list of the swaps may still be read when the first run ends
        with pytest.raises(ExchangeFailure) as caught:
            await exchanges.collect("binance", symbol="BTC/USDT")
        return "Did you mean BTC/USDT:USDT?" in caught.value.message

    await eventually(has_hint)


async def test_a_market_that_the_exchange_stops_trading_gets_a_remark_at_the_next_silent_run(
    stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    clock = [0.0]
    exchanges = exchanges_at(stub_exchange.base, monotonic=lambda: clock[0])
    path = "/api.binance.com/api/v3/exchangeInfo"
    stub_exchange.markets[path] = {"symbols": [binance_market("MATIC", "TRADING")]}
    client = exchanges.clients.get("binance")
    await client.require("MATIC/USDT", "1m")
    deadline = asyncio.get_running_loop().time() + 20
    assert await client.remark("MATIC/USDT", deadline) is None
    stub_exchange.markets[path] = {"symbols": [binance_market("MATIC", "BREAK")]}
    assert await client.remark("MATIC/USDT", deadline) is None
    clock[0] += 901
    assert await client.remark("MATIC/USDT", None) is None
    assert "as not active" in (await client.remark("MATIC/USDT", deadline) or "")
    stub_exchange.markets[path] = {"symbols": [binance_market("ETH", "TRADING")]}
    clock[0] += 901
    assert "no longer lists MATIC/USDT" in (await client.remark("MATIC/USDT", deadline) or "")
    stub_exchange.respond_with([])
    await client.require("MATIC/USDT", "1m")
    assert (await client.fetch("MATIC/USDT", "1m", NOW_MS, 5)).rows == []


def binance_market(base: str, status: str) -> dict[str, Any]:
    filters = [{"filterType": "PRICE_FILTER", "minPrice": "0.1", "maxPrice": "100", "tickSize": "0.1"}]
    return {
        "symbol": f"{base}USDT",
        "status": status,
        "baseAsset": base,
        "quoteAsset": "USDT",
        "filters": filters,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "isSpotTradingAllowed": True,
        "permissions": ["SPOT"],
    }
