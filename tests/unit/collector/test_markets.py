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
        assert self.markets, "it would ask the exchange"


class Listing:
    """What the exchange lists, and how often it was asked."""

    def __init__(self, *symbols: str) -> None:
        self.symbols: list[Any] = [{"symbol": symbol} for symbol in symbols]
        self.asked = 0
        self.breaker = asyncio.Event()
        self.breaker.set()
        self.time = 0.0
        self.client = FakeClient()
        self.counted: list[int] = []

    async def read(self) -> list[Any]:
        self.asked += 1
        await self.breaker.wait()
        return self.symbols

    def markets(self) -> Markets:
        return Markets(self.client, self.read, refresh_seconds=60, loaded=self.counted.append, now=lambda: self.time)


async def test_a_hundred_waiters_ask_once() -> None:
    listing = Listing("BTC/USDT")
    markets = listing.markets()
    await asyncio.gather(*(markets.require("BTC/USDT") for _ in range(100)))
    assert listing.asked == 1
    assert listing.counted == [1]


async def test_a_waiter_that_leaves_takes_nobody_along() -> None:
    listing = Listing("BTC/USDT")
    listing.breaker.clear()
    markets = listing.markets()
    patient = asyncio.create_task(markets.require("BTC/USDT"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await markets.require("BTC/USDT")
    listing.breaker.set()
    await patient
    assert listing.asked == 1


@pytest.mark.parametrize("garbage", [[], ["<html>"], [{}], [{"symbol": None}]])
async def test_garbage_is_an_error_and_is_not_kept(garbage: list[Any]) -> None:
    listing = Listing("BTC/USDT")
    markets, good = listing.markets(), listing.symbols
    listing.symbols = garbage
    with pytest.raises(ExchangeFailure) as caught:
        await markets.require("BTC/USDT")
    assert (caught.value.error_class, caught.value.retryable) == (ErrorClass.BAD_RESPONSE, True)
    listing.symbols = good
    await markets.require("BTC/USDT")


async def test_an_unknown_symbol_has_the_list_read_again_but_not_all_the_time() -> None:
    listing = Listing("BTC/USDT")
    markets = listing.markets()
    for _ in range(3):
        with pytest.raises(ExchangeFailure) as caught:
            await markets.require("NEW/USDT")
        assert (caught.value.error_class, caught.value.retryable) == (ErrorClass.BAD_SYMBOL, False)
    assert listing.asked == 1
    listing.symbols.append({"symbol": "NEW/USDT"})
    listing.time = 61.0
    await markets.require("NEW/USDT")
    assert listing.asked == 2


async def test_garbage_on_a_refresh_leaves_what_is_known() -> None:
    listing = Listing("BTC/USDT")
    markets = listing.markets()
    await markets.require("BTC/USDT")
    listing.symbols, listing.time = [], 61.0
    with pytest.raises(ExchangeFailure):
        await markets.require("NEW/USDT")
    await markets.require("BTC/USDT")
