import asyncio
from typing import Any

import pytest

from collector.exchange.failures import ExchangeFailure
from collector.exchange.markets import Markets
from contracts.vocabulary import ErrorClass


class FakeClient:
    id = "binance"

    def __init__(self) -> None:
        self.markets: dict[str, Any] = {}

    def set_markets(self, markets: list[dict[str, Any]]) -> None:
        self.markets = {each["symbol"]: each for each in markets}

    async def load_markets(self) -> None:
        assert self.markets, "load_markets would send a request"


class FakeExchange:
    """Sends a list of markets, and counts the requests."""

    def __init__(self, *symbols: str) -> None:
        self.symbols: list[Any] = [{"symbol": symbol} for symbol in symbols]
        self.requests = 0
        self.may_respond = asyncio.Event()
        self.may_respond.set()
        self.time = 0.0
        self.client = FakeClient()
        self.loaded_counts: list[int] = []

    async def read(self) -> list[Any]:
        self.requests += 1
        await self.may_respond.wait()
        return self.symbols

    def markets(self) -> Markets:
        return Markets(
            self.client, self.read, refresh_seconds=60, on_loaded=self.loaded_counts.append, now=lambda: self.time
        )


async def test_a_hundred_concurrent_callers_cause_one_request() -> None:
    exchange = FakeExchange("BTC/USDT")
    markets = exchange.markets()
    await asyncio.gather(*(markets.require("BTC/USDT") for _ in range(100)))
    assert exchange.requests == 1
    assert exchange.loaded_counts == [1]


async def test_the_reading_continues_if_one_caller_is_cancelled() -> None:
    exchange = FakeExchange("BTC/USDT")
    exchange.may_respond.clear()
    markets = exchange.markets()
    waiting = asyncio.create_task(markets.require("BTC/USDT"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await markets.require("BTC/USDT")
    exchange.may_respond.set()
    await waiting
    assert exchange.requests == 1


@pytest.mark.parametrize("invalid", [[], ["<html>"], [{}], [{"symbol": None}]])
async def test_an_invalid_list_is_an_error_and_is_not_stored(invalid: list[Any]) -> None:
    exchange = FakeExchange("BTC/USDT")
    markets, valid = exchange.markets(), exchange.symbols
    exchange.symbols = invalid
    with pytest.raises(ExchangeFailure) as caught:
        await markets.require("BTC/USDT")
    assert (caught.value.error_class, caught.value.retryable) == (ErrorClass.BAD_RESPONSE, True)
    exchange.symbols = valid
    await markets.require("BTC/USDT")


async def test_an_unknown_symbol_causes_another_read_after_the_refresh_interval() -> None:
    exchange = FakeExchange("BTC/USDT")
    markets = exchange.markets()
    for _ in range(3):
        with pytest.raises(ExchangeFailure) as caught:
            await markets.require("NEW/USDT")
        assert (caught.value.error_class, caught.value.retryable) == (ErrorClass.BAD_SYMBOL, False)
    assert exchange.requests == 1
    exchange.symbols.append({"symbol": "NEW/USDT"})
    exchange.time = 61.0
    await markets.require("NEW/USDT")
    assert exchange.requests == 2


async def test_an_invalid_list_at_a_refresh_does_not_replace_the_known_markets() -> None:
    exchange = FakeExchange("BTC/USDT")
    markets = exchange.markets()
    await markets.require("BTC/USDT")
    exchange.symbols, exchange.time = [], 61.0
    with pytest.raises(ExchangeFailure):
        await markets.require("NEW/USDT")
    await markets.require("BTC/USDT")
