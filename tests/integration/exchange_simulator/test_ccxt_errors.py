"""ccxt raises the same errors for moods and refusals as for the real exchanges."""

import asyncio
from contextlib import suppress
from typing import Any

import ccxt.async_support as ccxt
import pytest

EXCHANGES = ["binance", "kraken", "coinbase", "bybit", "okx"]

UNKNOWN_SYMBOL = {
    "binance": ccxt.BadSymbol,
    "kraken": ccxt.ExchangeError,
    "coinbase": ccxt.ExchangeError,
    "bybit": ccxt.BadSymbol,
    "okx": ccxt.BadSymbol,
}
RATE_LIMITED = {
    "binance": ccxt.DDoSProtection,
    "kraken": ccxt.RateLimitExceeded,
    "coinbase": ccxt.RateLimitExceeded,
    "bybit": ccxt.RateLimitExceeded,
    "okx": ccxt.RateLimitExceeded,
}
MAINTENANCE = {
    "binance": ccxt.OnMaintenance,
    "kraken": ccxt.ExchangeNotAvailable,
    "coinbase": ccxt.ExchangeNotAvailable,
    "bybit": ccxt.ExchangeError,
    "okx": ccxt.OnMaintenance,
}
STATUSES = {
    401: ccxt.AuthenticationError,
    451: ccxt.ExchangeNotAvailable,
    500: ccxt.ExchangeNotAvailable,
    502: ccxt.ExchangeNotAvailable,
    503: ccxt.ExchangeNotAvailable,
    504: ccxt.RequestTimeout,
    520: ccxt.ExchangeNotAvailable,
}


async def raised_by(client: Any, timeframe: str = "1m", symbol: str = "BTC/USDT") -> type[Exception]:
    try:
        rows = await client.fetch_ohlcv(symbol, timeframe, limit=5)
    except ccxt.BaseError as error:
        return type(error)
    pytest.fail(f"no error, but {rows[:2]}")


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_an_unknown_symbol_is_refused_like_on_the_real_exchange(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    client.markets["BTC/USDT"]["id"] = "NO-PE"
    assert await raised_by(client) is UNKNOWN_SYMBOL[exchange]


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_an_unknown_interval_is_a_bad_request(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    assert await raised_by(client, "7m") is ccxt.BadRequest


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_a_rate_limit_has_retry_after_in_seconds(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    await served.mood(kind="rate_limit", exchange=exchange, count=1, retry_after=7)
    assert await raised_by(client) is RATE_LIMITED[exchange]
    assert client.last_response_headers["Retry-After"] == "7"
    assert await client.fetch_ohlcv("BTC/USDT", "1m", limit=5)


async def test_retry_after_can_be_a_date(served: Any) -> None:
    client = await served.ccxt("binance")
    await served.mood(kind="ban", retry_after=60, retry_after_form="date")
    assert await raised_by(client) is ccxt.DDoSProtection
    assert client.last_response_headers["Retry-After"] == "Thu, 09 Oct 2025 08:54:50 GMT"


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_a_ban_raises_ddos_protection(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    await served.mood(kind="ban", exchange=exchange)
    assert await raised_by(client) is ccxt.DDoSProtection


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_maintenance_raises_the_error_of_the_exchange(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    await served.mood(kind="maintenance", exchange=exchange)
    assert await raised_by(client) is MAINTENANCE[exchange]


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_http_statuses_raise_the_errors_of_ccxt(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    for status, error in STATUSES.items():
        await served.mood(kind="error", status=status, count=1)
        assert await raised_by(client) is error, status


async def test_ccxt_reports_an_overload_of_binance_as_a_permanent_error(served: Any) -> None:
    client = await served.ccxt("binance")
    await served.mood(kind="error", status=503, body='{"code":-1008,"msg":"Server is currently overloaded."}')
    assert await raised_by(client) is ccxt.ExchangeError


async def test_an_invalid_body_with_status_200_gives_invalid_rows_on_binance(served: Any) -> None:
    client = await served.ccxt("binance")
    for kind in ("html", "truncated"):
        await served.mood(kind=kind, path="klines", count=1)
        rows = await client.fetch_ohlcv("BTC/USDT", "1m", limit=5)
        assert any(row[1] is None for row in rows), kind


@pytest.mark.parametrize("exchange", ["kraken", "coinbase", "bybit", "okx"])
async def test_an_invalid_body_with_status_200_gives_no_rows_on_other_exchanges(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    for kind in ("html", "truncated", "empty"):
        await served.mood(kind=kind, exchange=exchange, count=1)
        assert await client.fetch_ohlcv("BTC/USDT", "1m", limit=5) == [], kind


async def test_a_page_with_an_unknown_status_gives_no_rows(served: Any) -> None:
    client = await served.ccxt("okx")
    await served.mood(kind="error", status=523, body="<html></html>", content_type="text/html")
    assert await client.fetch_ohlcv("BTC/USDT", "1m", limit=5) == []


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_a_response_can_have_no_candles(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    await served.mood(kind="no_candles", exchange=exchange, symbol="BTC/USDT")
    assert await client.fetch_ohlcv("BTC/USDT", "1m", limit=5) == []
    assert await client.fetch_ohlcv("ETH/USDT", "1m", limit=5)


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_ccxt_returns_malformed_rows_unchanged(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    await served.mood(kind="malformed", variant="nulls")
    nulls = await client.fetch_ohlcv("BTC/USDT", "1m", limit=20)
    assert any(row[1] is None for row in nulls)
    assert any(row[1] is not None for row in nulls)
    async with served.http.delete(f"{served.base}/control/moods") as response:
        assert await response.json() == {"cleared": 1}
    await served.mood(kind="malformed", variant="unaligned")
    unaligned = await client.fetch_ohlcv("BTC/USDT", "1m", limit=20)
    assert {row[0] % 60_000 for row in unaligned} == {0, 17_000}


async def test_ccxt_returns_a_high_below_the_low_and_nan(served: Any) -> None:
    client = await served.ccxt("binance")
    await served.mood(kind="malformed", variant="high_below_low", count=1)
    await served.mood(kind="malformed", variant="nan", count=1)
    assert any(row[2] < row[3] for row in await client.fetch_ohlcv("BTC/USDT", "1m", limit=20))
    assert any(row[2] != row[2] for row in await client.fetch_ohlcv("BTC/USDT", "1m", limit=20))


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_a_reset_of_a_new_connection_raises_not_available(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    await served.mood(kind="reset", exchange=exchange)
    assert await raised_by(client) is ccxt.ExchangeNotAvailable


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_a_reset_in_the_body_raises_an_exchange_error(served: Any, exchange: str) -> None:
    client = await served.ccxt(exchange)
    await served.mood(kind="reset_mid_body", exchange=exchange)
    assert await raised_by(client) in {ccxt.ExchangeError, ccxt.ExchangeNotAvailable}


@pytest.mark.parametrize("mood", [{"kind": "latency", "latency_ms": 2_000}, {"kind": "trickle", "latency_ms": 5_000}])
async def test_slow_responses_time_out(served: Any, mood: dict[str, Any]) -> None:
    client = await served.ccxt("bybit")
    client.timeout = 300
    await served.mood(**mood, count=1)
    assert await raised_by(client) is ccxt.RequestTimeout


async def test_a_trickle_delivers_the_whole_response(served: Any) -> None:
    client = await served.ccxt("okx")
    await served.mood(kind="trickle", latency_ms=200, count=1)
    slow = await client.fetch_ohlcv("BTC/USDT", "1m", limit=50)
    assert slow == await client.fetch_ohlcv("BTC/USDT", "1m", limit=50)


async def test_latency_is_added(served: Any) -> None:
    client = await served.ccxt("okx")
    loop = asyncio.get_running_loop()
    await served.mood(kind="latency", latency_ms=150, count=1)
    began = loop.time()
    await client.fetch_ohlcv("BTC/USDT", "1m", limit=5)
    assert loop.time() - began >= 0.15


async def test_an_html_response_gives_no_markets(served: Any) -> None:
    client = await served.ccxt("binance")
    await served.mood(kind="html", path="exchangeInfo")
    with suppress(ccxt.BaseError):
        await client.load_markets(True)
    assert not client.markets or len(client.markets) < 2
