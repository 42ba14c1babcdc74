import asyncio
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collector.exchange.market_lists import MarketListPublisher, listed_markets
from contracts.markets import ListedMarket, MarketsListed
from support.polling import eventually


class Publisher:
    def __init__(self) -> None:
        self.events: list[Any] = []

    async def publish(self, topic: Any, event: MarketsListed) -> None:
        self.events.append((topic.name, event))


def test_a_market_of_ccxt_becomes_a_market_of_a_list() -> None:
    raw = {"symbol": "BTC/USDT", "id": "BTCUSDT", "active": True, "created": 1502942400000, "spot": True}
    created = datetime(2017, 8, 17, 4, tzinfo=UTC)
    assert listed_markets("spot", [raw]) == (
        ListedMarket(symbol="BTC/USDT", id="BTCUSDT", active=True, created_at=created),
    )


def test_markets_of_another_kind_and_unreadable_ones_are_left_out() -> None:
    raw: list[dict[str, Any]] = [
        {"symbol": "BTC/USDT:USDT", "id": "1"},
        {"symbol": "not a symbol", "id": "2"},
        {"symbol": "B/USDT", "id": 3, "active": "yes", "created": -1},
    ]
    assert listed_markets("spot", raw) == (ListedMarket(symbol="B/USDT", id="3"),)


def test_the_active_one_of_two_markets_with_one_symbol_counts() -> None:
    old, new = ({"symbol": "A/USDT", "id": each, "active": each == "new"} for each in ("old", "new"))
    assert listed_markets("spot", [old, new]) == listed_markets("spot", [new, old])
    assert listed_markets("spot", [old, new])[0].id == "new"


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["A/B", "C/D"])
RAW = st.dictionaries(st.sampled_from(["symbol", "id", "active", "created"]), VALUES)


@given(st.lists(RAW, max_size=5))
def test_no_value_of_an_exchange_is_an_error(raw: list[dict[str, Any]]) -> None:
    symbols = [each.symbol for each in listed_markets("spot", raw)]
    assert symbols == sorted(set(symbols))


async def test_the_newest_list_of_each_kind_is_published() -> None:
    publisher = Publisher()
    lists = MarketListPublisher(publisher, "here:1")  # type: ignore[arg-type]
    lists.report("binance", "spot", [{"symbol": "A/USDT", "id": "A"}])
    lists.report("binance", "swap", [{"symbol": "A/USDT:USDT", "id": "A"}])
    lists.report("binance", "spot", [{"symbol": "B/USDT", "id": "B"}])
    lists.report("kraken", "spot", [{"symbol": "broken"}])
    lists.report("okx", "spot", [{"symbol": f"A{number}/USDT", "id": "A"} for number in range(10_001)])
    lists.report("bybit", "spot", [{"symbol": f"A{number}/USDT", "id": "A" * 200} for number in range(9_000)])
    task = asyncio.create_task(lists.run())
    await eventually(lambda: len(publisher.events) == 2, within=5)
    await lists.stop()
    await task
    assert {(topic, event.key(), event.markets[0].symbol) for topic, event in publisher.events} == {
        ("market-lists", "binance|spot", "B/USDT"),
        ("market-lists", "binance|swap", "A/USDT:USDT"),
    }
