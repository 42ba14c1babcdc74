"""ccxt classes read the candles that the truth endpoint of the simulator returns."""

from typing import Any

import pytest

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
EXCHANGES = ["binance", "kraken", "coinbase", "bybit", "okx"]
WITH_SWAPS = ["binance", "bybit", "okx"]
SHOWS_THE_OPEN_CANDLE = {"binance", "kraken", "bybit", "okx"}
PAGE = {"binance": 1_000, "kraken": 720, "coinbase": 300, "bybit": 1_000, "okx": 300}


def closed_only(rows: list[list[float]], now_ms: int, step_ms: int) -> list[list[float]]:
    return [row for row in rows if row[0] + step_ms <= now_ms]


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_markets_load_in_both_modes_with_the_largest_assets(served: Any, exchange: str) -> None:
    everything = await served.ccxt(exchange, spot_only=False)
    spot = await served.ccxt(exchange)
    assert len(spot.markets) > 100
    assert all(market["spot"] and market["active"] for market in spot.markets.values())
    assert {"BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "BTC/USDC", "ETH/BTC"} <= spot.markets.keys()
    assert ("BTC/USDT:USDT" in everything.markets) == (exchange in WITH_SWAPS)
    assert ("BTC/USD" in spot.markets) == (exchange in {"kraken", "coinbase", "okx"})
    assert spot.markets["BTC/USDT"]["precision"]["price"] in {0.1, 0.01}


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_ccxt_and_the_simulator_use_the_same_symbols(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange, spot_only=False)
    for symbol in list(client.markets)[::40]:
        assert await served.truth(exchange, symbol, "1h", start=served.now_ms - 3 * HOUR)


async def test_an_id_in_mixed_case_keeps_its_case(served: Any) -> None:
    client = await served.ccxt("kraken")
    assert client.market("AAPLX/USD")["id"] == "AAPLxUSD"
    assert await client.fetch_ohlcv("AAPLX/USD", "1h", limit=2)


async def test_a_request_for_two_symbols_loads_two_markets_of_binance(served: Any) -> None:
    client = await served.ccxt("binance")
    client.markets = None
    await client.load_markets(True, {"symbols": '["BTCUSDT","ETHUSDT"]', "showPermissionSets": "false"})
    assert sorted(client.markets) == ["BTC/USDT", "ETH/USDT"]


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_the_exchange_returns_the_simulated_time(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    assert await client.fetch_time() // 1_000 == served.now_ms // 1_000
    assert client.last_response_headers["Date"] == "Thu, 09 Oct 2025 08:53:50 GMT"


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_the_newest_candles_are_correct_with_the_open_one_on_most_exchanges(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    rows = await client.fetch_ohlcv("BTC/USDT", "1m", limit=100)
    closed = closed_only(rows, served.now_ms, MINUTE)
    assert len(rows) - len(closed) == (exchange in SHOWS_THE_OPEN_CANDLE)
    assert closed == await served.truth(exchange, "BTC/USDT", "1m", start=closed[0][0])


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_since_with_a_limit_gives_the_candles_from_there(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    since = served.now_ms // HOUR * HOUR - 5 * HOUR
    rows = await client.fetch_ohlcv("ETH/USDT", "1m", since, 60)
    # Coinbase's window includes its end, so the minute after the window replaces a minute without trades.
    truth = await served.truth(exchange, "ETH/USDT", "1m", start=since, end=since + HOUR + MINUTE)
    assert rows == truth[:60]


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_the_candles_of_every_timeframe_are_correct(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    for timeframe in client.timeframes:
        rows = (await client.fetch_ohlcv("SOL/USDT", timeframe, limit=10))[:-1]
        truth = await served.truth(exchange, "SOL/USDT", timeframe)
        assert rows, timeframe
        assert rows == [row for row in truth if rows[0][0] <= row[0] <= rows[-1][0]], timeframe


async def read_in_pages(client: Any, symbol: str, since: int, until: int, limit: int) -> list[list[float]]:
    """A simple loop: the next page starts one minute after the last row, or after an empty page."""
    rows: list[list[float]] = []
    at = since
    while at < until:
        page = await client.fetch_ohlcv(symbol, "1m", at, limit)
        rows += page
        at = page[-1][0] + MINUTE if page else at + limit * MINUTE
    return [row for row in rows if row[0] < until]


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_a_long_range_is_complete_in_pages(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    until = served.now_ms // MINUTE * MINUTE
    since = until - (700 if exchange == "kraken" else 2_500) * MINUTE
    rows = await read_in_pages(client, "XRP/USDT", since, until, PAGE[exchange])
    assert rows == await served.truth(exchange, "XRP/USDT", "1m", start=since)
    assert (len(rows) == (until - since) // MINUTE) == (exchange != "coinbase")


@pytest.mark.parametrize("exchange", ["binance", "coinbase", "bybit", "okx"])
async def test_candles_from_years_ago_are_correct(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    since = 1_500_000_000_000 // DAY * DAY
    rows = await client.fetch_ohlcv("BTC/USDT", "1m", since, 100)
    assert rows == await served.truth(exchange, "BTC/USDT", "1m", start=since, end=since + 100 * MINUTE)


async def test_kraken_starts_later_if_since_is_too_old(served: Any) -> None:
    client = await served.ccxt("kraken")
    rows = await client.fetch_ohlcv("BTC/USD", "1m", served.now_ms - 30 * DAY, 5)
    assert rows[0][0] == served.now_ms // MINUTE * MINUTE - 719 * MINUTE


@pytest.mark.parametrize("exchange", WITH_SWAPS)
async def test_swaps_have_different_candles(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange, spot_only=False)
    since = served.now_ms // HOUR * HOUR - 5 * HOUR
    swap = await client.fetch_ohlcv("BTC/USDT:USDT", "1m", since, 50)
    assert swap == await served.truth(exchange, "BTC/USDT:USDT", "1m", start=since, end=since + 50 * MINUTE)
    assert swap != await client.fetch_ohlcv("BTC/USDT", "1m", since, 50)


async def test_the_weight_is_in_the_header_of_binance(served: Any) -> None:
    client = await served.ccxt("binance")
    await client.fetch_ohlcv("BTC/USDT", "1m", limit=1)
    before = int(client.last_response_headers["X-MBX-USED-WEIGHT-1M"])
    await client.fetch_ohlcv("BTC/USDT", "1m", limit=1)
    assert int(client.last_response_headers["X-MBX-USED-WEIGHT-1M"]) in {before + 2, 2}
