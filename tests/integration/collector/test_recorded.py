"""What exchanges were recorded to answer comes out of our fetch path as the candles that it holds."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from collector.candles.validation import read_page
from collector.exchange.traits import traits_of
from contracts.timeframes import close_of
from support.collecting import Exchanges, rows_of
from support.shared_data import shared_file
from support.tape import Tape

ENTRIES = [
    # Exchange and which of its recorded entries; binance's other one asks for index prices, which we do not collect.
    ("binance", 0),
    ("binance", 2),
    ("kraken", 0),
    ("bybit", 0),
    ("coinbaseexchange", 0),
]


@pytest.fixture
def exchange_answering(tape: Tape, exchanges_at: Callable[..., Exchanges]) -> Callable[[Any, float], Exchanges]:
    tape.markets["/api.exchange.coinbase.com/products"] = [{"id": "BTC-USDT", "status": "online"}]

    def answering(body: Any, now: float) -> Exchanges:
        tape.says(body)
        tape.now = now
        return exchanges_at(tape.base, now=lambda: now)

    return answering


def instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


@pytest.mark.parametrize(("exchange", "number"), ENTRIES)
async def test_recorded_answers_are_read_as_ccxt_was_recorded_to(
    exchange: str, number: int, exchange_answering: Callable[[Any, float], Exchanges]
) -> None:
    entry = json.loads(shared_file(f"data/ccxt-static-response/{exchange}.json").read_text())["entries"][number]
    symbol, timeframe, since, limit = entry["input"]
    expected = entry["parsedResponse"]
    now_ms = close_of(timeframe, expected[-1][0]) + 1_000_000_000
    since = since or expected[0][0]
    client = exchange_answering(entry["httpResponse"], now_ms / 1000).clients.of(exchange)
    await client.require(symbol, timeframe)
    answer = await client.fetch(symbol, timeframe, since, limit)
    page = read_page(traits_of(exchange), timeframe, answer.rows, since=since, now=now_ms)
    # Kraken's recorded answer goes on after the three rows that ccxt was asked for.
    assert [list(candle) for candle in page.closed if candle.open_ms <= expected[-1][0]] == expected


@pytest.mark.parametrize(("exchange", "number"), ENTRIES)
async def test_recorded_answers_are_collected_whole(
    exchange: str, number: int, exchange_answering: Callable[[Any, float], Exchanges], tape: Tape
) -> None:
    entry = json.loads(shared_file(f"data/ccxt-static-response/{exchange}.json").read_text())["entries"][number]
    symbol, timeframe, *_ = entry["input"]
    expected = entry["parsedResponse"]
    body, first, last = entry["httpResponse"], expected[0][0], expected[-1][0]
    if exchange == "kraken":  # its recorded answer goes on after what ccxt was asked for
        rows = body["result"]["XBTUSDT"]
        body["result"]["XBTUSDT"] = [row for row in rows if first <= row[0] * 1000 <= last]
    exchanges = exchange_answering(body, close_of(timeframe, last) / 1000)
    window_start = None if number == 2 else instant(first)
    series = await exchanges.collect(exchange, timeframe, window_start, symbol=symbol)
    assert rows_of(series) == expected
    assert len(tape.asked) == 1


@pytest.mark.parametrize(
    ("exchange", "file"),
    [
        ("binance", "binance_ETHUSDT_1m.json"),
        ("kraken", "kraken_ETHUSD_1m.json"),
        ("coinbase", "coinbase_ETH-USD_ONE_MINUTE.json"),
    ],
)
async def test_three_exchanges_at_the_same_instant_give_the_same_closed_minutes(
    exchange: str, file: str, exchange_answering: Callable[[Any, float], Exchanges]
) -> None:
    folder = shared_file("data/clim-same-instant")
    expected = json.loads((folder / "expected_ccxt_4_5_90.json").read_text())[exchange]
    now = int((folder / "now.txt").read_text())
    rows = expected["parsedResponse_ccxt_4_5_90"]
    exchanges = exchange_answering(json.loads((folder / file).read_text()), float(now))
    series = await exchanges.collect(exchange, "1m", instant(rows[0][0] + 60_000), symbol=expected["symbol"])
    # Nine seconds into a minute: Binance and Kraken sent the open candle, Coinbase did not.
    assert rows_of(series) == [row for row in rows if row[0] + 60_000 <= now * 1000]
    assert rows_of(series)[-1][0] == now // 60 * 60_000 - 60_000


async def test_krakens_whole_page_of_720_but_for_the_open_candle(
    exchange_answering: Callable[[Any, float], Exchanges],
) -> None:
    body = json.loads(shared_file("data/xchange-raw/kraken_OHLC_XXBTZUSD_1m_720rows.json").read_text())
    rows = [[row[0] * 1000, *map(float, row[1:5]), float(row[6])] for row in body["result"]["XXBTZUSD"]]
    exchanges = exchange_answering(body, rows[-1][0] / 1000 + 30)
    series = await exchanges.collect("kraken", "1m", symbol="BTC/USD")
    assert rows_of(series) == rows[:-1]
    assert (series.pages, series.note) == (1, None)


async def test_coinbase_exchanges_recorded_page_newest_first(
    exchange_answering: Callable[[Any, float], Exchanges], tape: Tape
) -> None:
    tape.markets["/api.exchange.coinbase.com/products"] = [{"id": "BTC-USD", "status": "online"}]
    body = json.loads(shared_file("data/xchange-raw/coinbasepro_candles_1m.json").read_text())
    rows = sorted([at * 1000, start, high, low, end, volume] for at, low, high, start, end, volume in body)
    exchanges = exchange_answering(body, rows[-1][0] / 1000 + 60)
    series = await exchanges.collect("coinbaseexchange", "1m", instant(rows[0][0]), symbol="BTC/USD")
    assert rows_of(series) == rows


async def test_bybits_recorded_spot_page(exchange_answering: Callable[[Any, float], Exchanges]) -> None:
    body = json.loads(shared_file("data/hummingbot-raw/bybit_spot_kline_1h.json").read_text())
    rows = sorted([int(row[0]), *map(float, row[1:6])] for row in body["result"]["list"])
    exchanges = exchange_answering(body, rows[-1][0] / 1000 + 3600)
    series = await exchanges.collect("bybit", "1h", instant(rows[0][0] + 3_600_000))
    assert rows_of(series) == rows
