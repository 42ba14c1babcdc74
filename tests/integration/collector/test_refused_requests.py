"""Refusals of an exchange: the time that they name, their words, and the requests after them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from collector.exchange.circuit_transitions import ProbePolicy
from collector.exchange.failures import ExchangeFailure
from collector.exchange.strict_http import MAX_CANDLES_BODY_BYTES
from contracts.vocabulary import ErrorClass
from support.collecting import Exchanges, rows_of
from support.error_responses import CLOUDFRONT_COUNTRY, HTML, MINUTE_ROW, NOW_MS, failure_from
from support.stub_exchange import StubExchange


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
