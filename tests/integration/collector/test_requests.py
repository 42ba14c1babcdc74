"""The requests that leave the collector: their start and end cover the page, and none leaves to other exchanges."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from collector.exchange.failures import ExchangeFailure
from contracts.runs import RunFinished
from contracts.vocabulary import ErrorClass, RunStatus
from support.collecting import Exchanges, Simulator, a_tick
from support.kafka import Recorder
from support.stub_exchange import StubExchange

MINUTE = 60_000
WEEK = 7 * 86_400_000
MONDAY = int(datetime(2025, 4, 7, tzinfo=UTC).timestamp() * 1000)


async def sent(stub: StubExchange, exchanges: Exchanges, exchange: str, symbol: str, *arguments: Any) -> dict[str, str]:
    """The query of the request for candles."""
    client = exchanges.clients.get(exchange)
    await client.require(symbol, arguments[0])
    await client.fetch(symbol, *arguments)
    return {name: value for name, [value] in parse_qs(urlsplit(stub.candle_requests[-1]).query).items()}


def milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


async def test_a_window_ends_after_the_last_wanted_candle(
    stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    product = {"id": "BTC-USD", "base_currency": "BTC", "quote_currency": "USD", "status": "online"}
    stub_exchange.markets["/api.exchange.coinbase.com/products"] = [product]
    exchanges = exchanges_at(stub_exchange.base)
    limit = exchanges.clients.get("coinbaseexchange").page_limit("BTC/USD", "1m")
    assert limit == 299
    query = await sent(stub_exchange, exchanges, "coinbaseexchange", "BTC/USD", "1m", MONDAY, limit)
    assert (milliseconds(query["start"]), milliseconds(query["end"])) == (MONDAY, MONDAY + limit * MINUTE)


async def test_a_weekly_page_begins_at_the_wanted_monday_or_earlier(
    stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    """Ccxt rounds the start up to a Thursday, so that the candle of the wanted week would be missing."""
    stub_exchange.respond_with({"retCode": 0, "retMsg": "OK", "result": {"list": []}})
    query = await sent(stub_exchange, exchanges_at(stub_exchange.base), "bybit", "BTC/USDT", "1w", MONDAY, 10)
    assert MONDAY - WEEK < int(query["start"]) <= MONDAY
    assert int(query["limit"]) == 11


async def test_a_page_of_swaps_has_the_limit_of_swaps(
    stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    client = exchanges_at(stub_exchange.base).clients.get("binance")
    symbols = ("BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC", "BTC/USD:BTC-240628")
    assert [client.page_limit(symbol, "1m") for symbol in symbols] == [1000, 500, 500, 100]


@pytest.mark.parametrize(
    ("exchange", "symbol", "timeframe", "error_class"),
    [
        ("bitbank", "BTC/JPY", "4h", ErrorClass.NOT_SUPPORTED),
        ("bigone", "BTC/USDT:USDT", "1m", ErrorClass.NOT_SUPPORTED),
        ("luno", "BTC/ZAR", "1m", ErrorClass.AUTHENTICATION),
    ],
)
async def test_candles_that_can_never_be_collected_cause_no_request(
    exchanges_at: Callable[..., Exchanges], exchange: str, symbol: str, timeframe: str, error_class: ErrorClass
) -> None:
    """For configs from before the API refused them. A request would fail at the unused address."""
    client = exchanges_at("http://127.0.0.1:1").clients.get(exchange)
    with pytest.raises(ExchangeFailure, match="cannot be collected") as refused:
        await client.require(symbol, timeframe)
    assert (refused.value.error_class, refused.value.retryable) == (error_class, False)


async def test_an_exchange_that_is_not_allowed_has_no_client(
    stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> None:
    exchanges = exchanges_at(stub_exchange.base, allowed_exchanges=frozenset({"kraken", "binance"}))
    with pytest.raises(ExchangeFailure, match="EXCHANGES_ALLOWED permits binance, kraken") as refused:
        exchanges.clients.get("okx")
    assert (refused.value.error_class, refused.value.retryable) == (ErrorClass.NOT_SUPPORTED, False)
    assert exchanges.clients.get("kraken").exchange == "kraken"


@pytest.mark.kafka
async def test_a_run_of_an_exchange_that_is_not_allowed_fails_without_a_request(
    start_in_process: Callable[..., AbstractAsyncContextManager[Any]],
    publish: Callable[..., Any],
    recorder: Recorder,
    simulator: Simulator,
) -> None:
    refused, allowed = a_tick(8, exchange="okx"), a_tick(9, exchange="kraken")
    async with start_in_process(exchanges_allowed="kraken"):
        await publish(refused, allowed)
        failed = await recorder.await_event(RunFinished, lambda event: event.run_id == refused.run_id, within=20)
        ended = await recorder.await_event(RunFinished, lambda event: event.run_id == allowed.run_id, within=20)
    assert (failed.status, failed.error_class) == (RunStatus.FAILED, ErrorClass.NOT_SUPPORTED)
    assert "okx is not allowed here, so no request was sent" in (failed.error_message or "")
    assert ended.status is RunStatus.SUCCESS
    assert await simulator.all_requests("okx") == []
    assert await simulator.all_requests("kraken") != []
