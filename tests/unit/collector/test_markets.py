import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collector.exchange.failures import ExchangeFailure
from collector.exchange.markets import _ADVICE, Markets
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
        self.symbols: list[Any] = [{"symbol": symbol, "spot": True, "type": "spot"} for symbol in symbols]
        self.requests = 0
        self.may_respond = asyncio.Event()
        self.may_respond.set()
        self.time = 0.0
        self.client = FakeClient()
        self.loaded_counts: list[int] = []
        self.absent_for = timedelta(0)

    async def read(self) -> list[Any]:
        self.requests += 1
        await self.may_respond.wait()
        return self.symbols

    def markets(self) -> Markets:
        return Markets(
            self.client,
            self.read,
            refresh_seconds=60,
            check_seconds=3600,
            on_loaded=lambda markets: self.loaded_counts.append(len(markets)),
            absent_for=self.absent_for,
            now=lambda: self.time,
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


async def failure_of(markets: Markets, symbol: str) -> ExchangeFailure:
    with pytest.raises(ExchangeFailure) as caught:
        await markets.require(symbol)
    return caught.value


@pytest.mark.parametrize(
    ("symbol", "question"),
    [
        ("btc/usdt", ". Did you mean BTC/USDT or BTC/USDT:USDT?"),
        ("BTCU/SDT", ". Did you mean BTC/USDT or BTC/USDT:USDT?"),
        ("ETH/USD", ". Did you mean ETH/USD:ETH?"),
        ("ETH/USD:USD", ". Did you mean ETH/USD:ETH?"),
        ("1inch/usd-t", ". Did you mean 1INCH/USDT?"),
        (
            "DOGE/EUR",
            _ADVICE,
        ),
    ],
)
async def test_an_unknown_symbol_gets_the_symbols_that_differ_only_by_case_separator_or_settle_currency(
    symbol: str, question: str
) -> None:
    markets = FakeExchange("BTC/USDT", "BTC/USDT:USDT", "ETH/USD:ETH", "ETH/USD:ETH-240628", "1INCH/USDT").markets()
    failure = await failure_of(markets, symbol)
    assert failure.error_class is ErrorClass.BAD_SYMBOL
    assert failure.message == f"binance has no market {symbol} among its 5 markets{question}"


@pytest.mark.parametrize("kind", ["future", "option", "index", "prediction"])
async def test_a_market_of_another_kind_is_not_supported_and_its_kind_is_named(kind: str) -> None:
    exchange = FakeExchange()
    exchange.symbols = [{"symbol": "BTC/USD", "type": kind, "spot": False, "swap": False}]
    failure = await failure_of(exchange.markets(), "BTC/USD")
    assert (failure.error_class, failure.retryable) == (ErrorClass.NOT_SUPPORTED, False)
    assert f"a market of the type {kind}" in failure.message


@pytest.mark.parametrize("market", [{}, {"type": None}, {"type": "margin"}, {"type": "linear", "swap": True}])
async def test_a_market_without_a_known_kind_is_collected(market: dict[str, Any]) -> None:
    exchange = FakeExchange()
    exchange.symbols = [{"symbol": "BTC/USD", **market}]
    await exchange.markets().require("BTC/USD")


@pytest.mark.parametrize(("active", "has_remark"), [(False, True), (True, False), (None, False)])
async def test_a_market_that_is_not_active_gets_a_remark(active: bool | None, has_remark: bool) -> None:
    exchange = FakeExchange()
    exchange.symbols = [{"symbol": "MATIC/USDT", "active": active}]
    markets = exchange.markets()
    await markets.require("MATIC/USDT")
    remark = "binance lists MATIC/USDT as not active: it is delisted or suspended"
    assert markets.remark("MATIC/USDT") == (remark if has_remark else None)


async def test_a_market_that_vanishes_from_the_list_is_kept_and_gets_a_remark_until_it_is_back() -> None:
    exchange = FakeExchange("BTC/USDT", "MATIC/USDT")
    markets, listed = exchange.markets(), exchange.symbols
    await markets.require("MATIC/USDT")
    await markets.refresh()
    assert exchange.requests == 1
    exchange.time, exchange.symbols = 61.0, listed[:1]
    await markets.refresh()
    await markets.require("MATIC/USDT")
    assert (markets.remark("MATIC/USDT") or "").startswith(
        "binance no longer lists MATIC/USDT; it was in the list of 20"
    )
    assert markets.remark("BTC/USDT") is None
    assert exchange.loaded_counts == [2, 1]
    exchange.time, exchange.symbols = 122.0, listed
    await markets.refresh()
    assert markets.remark("MATIC/USDT") is None


async def test_an_old_list_is_read_again_in_the_background_and_a_failure_is_not_repeated_at_each_run() -> None:
    exchange = FakeExchange("BTC/USDT")
    markets = exchange.markets()
    await markets.require("BTC/USDT")
    exchange.time, listed, exchange.symbols = 3600.0, exchange.symbols, []
    exchange.may_respond.clear()
    for _ in range(3):
        await markets.require("BTC/USDT")  # does not wait for the new list
        await asyncio.sleep(0)
    assert exchange.requests == 2
    exchange.may_respond.set()
    await asyncio.sleep(0.01)
    await markets.require("BTC/USDT")
    await asyncio.sleep(0.01)
    assert (exchange.requests, exchange.loaded_counts) == (2, [1])
    exchange.time, exchange.symbols = 7200.0, listed
    await markets.require("BTC/USDT")
    await asyncio.sleep(0.01)
    assert (exchange.requests, exchange.loaded_counts) == (3, [1, 1])


async def test_a_market_is_not_traded_from_the_first_list_that_has_it_as_inactive() -> None:
    exchange = FakeExchange("BTC/USDT", "ETH/USDT")
    markets = exchange.markets()
    await markets.require("BTC/USDT")
    assert markets.not_traded_since("BTC/USDT") is None
    before, listed = datetime.now(UTC), exchange.symbols
    exchange.symbols = [{**each, "active": each["symbol"] != "BTC/USDT"} for each in listed]
    for minute in (1, 2):
        exchange.time = minute * 60.0
        await markets.refresh()
        since = markets.not_traded_since("BTC/USDT")
        assert since is not None
        assert before <= since
        before = since
        assert markets.not_traded_since("BTC/USDT") == before, "a later list does not change the time"
    exchange.time, exchange.symbols = 180.0, listed
    await markets.refresh()
    assert markets.not_traded_since("BTC/USDT") is None


@pytest.mark.parametrize("hours", [0, 6])
async def test_an_absent_market_is_not_traded_since_its_last_list_only_after_some_hours(hours: int) -> None:
    exchange = FakeExchange("BTC/USDT", "ETH/USDT")
    exchange.absent_for = timedelta(hours=hours)
    markets = exchange.markets()
    await markets.require("BTC/USDT")
    exchange.time, exchange.symbols = 60.0, exchange.symbols[1:]
    await markets.refresh()
    assert (markets.not_traded_since("BTC/USDT") is None) == (hours == 6)
    assert markets.not_traded_since("ETH/USDT") is None
