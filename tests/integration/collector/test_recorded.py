"""Recorded responses of exchanges become exactly the candles that they contain."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from collector.candles.pages import SeriesCalendar, read_page
from collector.exchange.traits_table import traits_of
from contracts.timeframes import close_of
from support.collecting import Exchanges, rows_of
from support.shared_data import shared_file
from support.stub_exchange import StubExchange

ENTRIES = [
    # The exchange and the index of its recorded entry. Binance's other entry has index prices, which are not collected.
    ("binance", 0),
    ("binance", 2),
    ("kraken", 0),
    ("bybit", 0),
    ("coinbaseexchange", 0),
]


@pytest.fixture
def exchanges_responding_with(
    stub_exchange: StubExchange, exchanges_at: Callable[..., Exchanges]
) -> Callable[[Any, float], Exchanges]:
    stub_exchange.markets["/api.exchange.coinbase.com/products"] = [{"id": "BTC-USDT", "status": "online"}]

    def build(body: Any, now: float) -> Exchanges:
        stub_exchange.respond_with(body)
        stub_exchange.now = now
        return exchanges_at(stub_exchange.base, now=lambda: now)

    return build


def instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


@pytest.mark.parametrize(("exchange", "number"), ENTRIES)
async def test_recorded_responses_are_parsed_as_ccxt_parsed_them(
    exchange: str, number: int, exchanges_responding_with: Callable[[Any, float], Exchanges]
) -> None:
    entry = json.loads(shared_file(f"data/ccxt-static-response/{exchange}.json").read_text())["entries"][number]
    symbol, timeframe, since, limit = entry["input"]
    expected = entry["parsedResponse"]
    now_ms = close_of(timeframe, expected[-1][0]) + 1_000_000_000
    since = since or expected[0][0]
    client = exchanges_responding_with(entry["httpResponse"], now_ms / 1000).clients.get(exchange)
    await client.require(symbol, timeframe)
    response = await client.fetch(symbol, timeframe, since, limit)
    traits = traits_of(exchange)
    calendar = SeriesCalendar.of(traits, timeframe)
    page = read_page(traits, calendar, response.rows, since=since, now=now_ms)
    # Kraken's recorded response has more than the three rows that were requested from ccxt.
    assert [list(candle) for candle in page.closed if since <= candle.open_ms <= expected[-1][0]] == expected


@pytest.mark.parametrize(("exchange", "number"), ENTRIES)
async def test_recorded_responses_are_collected_completely(
    exchange: str,
    number: int,
    exchanges_responding_with: Callable[[Any, float], Exchanges],
    stub_exchange: StubExchange,
) -> None:
    entry = json.loads(shared_file(f"data/ccxt-static-response/{exchange}.json").read_text())["entries"][number]
    symbol, timeframe, *_ = entry["input"]
    expected = entry["parsedResponse"]
    body, first, last = entry["httpResponse"], expected[0][0], expected[-1][0]
    if exchange == "kraken":  # its recorded response has more rows than were requested from ccxt
        rows = body["result"]["XBTUSDT"]
        body["result"]["XBTUSDT"] = [row for row in rows if first <= row[0] * 1000 <= last]
    exchanges = exchanges_responding_with(body, close_of(timeframe, last) / 1000)
    collected_until = None if number == 2 else instant(first)
    timeframe_run = await exchanges.collect(exchange, timeframe, collected_until, symbol=symbol)
    assert rows_of(timeframe_run) == expected
    assert len(stub_exchange.candle_requests) == 1


@pytest.mark.parametrize(
    ("exchange", "file"),
    [
        ("binance", "binance_ETHUSDT_1m.json"),
        ("kraken", "kraken_ETHUSD_1m.json"),
        ("coinbase", "coinbase_ETH-USD_ONE_MINUTE.json"),
    ],
)
async def test_the_recordings_of_three_exchanges_at_the_same_time_give_their_closed_minutes(
    exchange: str, file: str, exchanges_responding_with: Callable[[Any, float], Exchanges]
) -> None:
    folder = shared_file("data/clim-same-instant")
    expected = json.loads((folder / "expected_ccxt_4_5_90.json").read_text())[exchange]
    now = int((folder / "now.txt").read_text())
    rows = expected["parsedResponse_ccxt_4_5_90"]
    exchanges = exchanges_responding_with(json.loads((folder / file).read_text()), float(now))
    timeframe_run = await exchanges.collect(exchange, "1m", instant(rows[0][0] + 60_000), symbol=expected["symbol"])
    # Nine seconds into a minute: Binance and Kraken sent the open candle, Coinbase did not.
    assert rows_of(timeframe_run) == [row for row in rows if row[0] + 60_000 <= now * 1000]
    assert rows_of(timeframe_run)[-1][0] == now // 60 * 60_000 - 60_000


async def test_all_closed_candles_of_a_page_of_720_are_collected_from_kraken(
    exchanges_responding_with: Callable[[Any, float], Exchanges],
) -> None:
    body = json.loads(shared_file("data/xchange-raw/kraken_OHLC_XXBTZUSD_1m_720rows.json").read_text())
    rows = [[row[0] * 1000, *map(float, row[1:5]), float(row[6])] for row in body["result"]["XXBTZUSD"]]
    exchanges = exchanges_responding_with(body, rows[-1][0] / 1000 + 30)
    timeframe_run = await exchanges.collect("kraken", "1m", symbol="BTC/USD")
    assert rows_of(timeframe_run) == rows[:-1]
    assert (timeframe_run.result().pages, timeframe_run.result().notes) == (1, ())


async def test_a_page_with_the_newest_candle_first_is_collected_from_coinbase_exchange(
    exchanges_responding_with: Callable[[Any, float], Exchanges], stub_exchange: StubExchange
) -> None:
    stub_exchange.markets["/api.exchange.coinbase.com/products"] = [{"id": "BTC-USD", "status": "online"}]
    body = json.loads(shared_file("data/xchange-raw/coinbasepro_candles_1m.json").read_text())
    rows = sorted([at * 1000, start, high, low, end, volume] for at, low, high, start, end, volume in body)
    exchanges = exchanges_responding_with(body, rows[-1][0] / 1000 + 60)
    timeframe_run = await exchanges.collect("coinbaseexchange", "1m", instant(rows[0][0]), symbol="BTC/USD")
    assert rows_of(timeframe_run) == rows


async def test_a_page_of_spot_candles_is_collected_from_bybit(
    exchanges_responding_with: Callable[[Any, float], Exchanges],
) -> None:
    body = json.loads(shared_file("data/hummingbot-raw/bybit_spot_kline_1h.json").read_text())
    rows = sorted([int(row[0]), *map(float, row[1:6])] for row in body["result"]["list"])
    exchanges = exchanges_responding_with(body, rows[-1][0] / 1000 + 3600)
    timeframe_run = await exchanges.collect("bybit", "1h", instant(rows[0][0] + 3_600_000))
    assert rows_of(timeframe_run) == rows
