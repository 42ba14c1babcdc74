"""Exchanges, timeframes and symbols that the collector cannot collect, with their hints."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from collector.exchange.failures import ExchangeFailure
from contracts.vocabulary import ErrorClass
from support.collecting import Exchanges, symbol_of
from support.error_responses import MINUTE_ROW, NOW_MS
from support.polling import eventually
from support.stub_exchange import StubExchange


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
