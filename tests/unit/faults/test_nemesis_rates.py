from typing import Any

import ccxt
import pytest

from support.faults.nemesis.run import RATES

CANDLES = {
    "binance": ("public", "get", "klines"),
    "bybit": ("public", "get", "v5/market/kline"),
    "coinbase": ("v3", "public", "get", "brokerage/market/products/{product_id}/candles"),
    "okx": ("public", "get", "market/candles"),
    "kraken": ("public", "get", "OHLC"),
}


@pytest.mark.parametrize("exchange", CANDLES)
def test_the_nemesis_checks_the_rate_limits_of_ccxt(exchange: str) -> None:
    client = getattr(ccxt, exchange)()
    endpoint: Any = client.describe()["api"]
    for part in CANDLES[exchange]:
        endpoint = endpoint[part]
    assert pytest.approx(1000 / (client.rateLimit * endpoint["cost"]), rel=0.25) == RATES[exchange]
