"""The replies of the simulator have the same structure as recorded replies of the real exchanges."""

import json
from typing import Any

import pytest

from support.shared_data import shared_file


def shape(value: Any) -> Any:
    """Types and keys without values. The structure of a list is that of its first element."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return (
            [shape(value[0])] if value and isinstance(value[0], list | dict) else [type(one).__name__ for one in value]
        )
    return type(value).__name__


def decimals(text: str) -> int:
    return len(text.partition(".")[2])


SAME_INSTANT = [
    (
        "binance_ETHUSDT_1m.json",
        "/api.binance.com/api/v3/klines",
        {"symbol": "ETHUSDT", "interval": "1m", "limit": "20"},
    ),
    ("kraken_ETHUSD_1m.json", "/api.kraken.com/0/public/OHLC", {"pair": "XETHZUSD", "interval": "1"}),
    (
        "coinbase_ETH-USD_ONE_MINUTE.json",
        "/api.coinbase.com/api/v3/brokerage/market/products/ETH-USD/candles",
        {"granularity": "ONE_MINUTE", "start": "1759998000", "end": "1760000000"},
    ),
]


@pytest.mark.parametrize(("file", "path", "query"), SAME_INSTANT)
async def test_candles_have_the_recorded_structure(served: Any, file: str, path: str, query: dict[str, str]) -> None:
    recorded = json.loads(shared_file(f"data/clim-same-instant/{file}").read_text())
    assert shape(await served.get(path, **query)) == shape(recorded)


async def test_bybit_candles_have_the_recorded_structure(served: Any) -> None:
    recorded = json.loads(shared_file("data/hummingbot-raw/bybit_spot_kline_1h.json").read_text())
    query = {"category": "spot", "symbol": "BTCUSDT", "interval": "60", "limit": "5"}
    assert shape(await served.get("/api.bybit.com/v5/market/kline", **query)) == shape(recorded)


@pytest.mark.parametrize("exchange", ["binance", "kraken", "coinbase", "bybit", "okx"])
async def test_symbols_have_the_ids_of_the_real_markets(served: Any, exchange: str) -> None:
    entries = json.loads(shared_file(f"data/ccxt-static-markets/{exchange}.json").read_text())
    client = await served.ccxt(exchange)
    for entry in entries:
        if entry["symbol"] in client.markets:
            assert client.markets[entry["symbol"]]["id"] == entry["id"]
    assert len([entry for entry in entries if entry["symbol"] in client.markets]) >= 6
