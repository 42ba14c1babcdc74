"""The truth about a series agrees with the rows that the exchange sends."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange_simulator.dialects.dialect import ExchangeRequest
from exchange_simulator.history import History, Status
from exchange_simulator.moods import Target, parse_mood
from exchange_simulator.settings import SimulatorSettings
from exchange_simulator.simulator import Simulator
from exchange_simulator.timeframes import FRAMES, HOUR, MINUTE
from exchange_simulator.truth import SeriesTruth, read_truth, true_candles

NOW = 1_760_000_030_000
OPEN = NOW // MINUTE * MINUTE
SYMBOLS = {"binance": "BTC/USDT", "kraken": "BTC/USD", "coinbase": "BTC/USD", "bybit": "BTC/USDT", "okx": "BTC/USDT"}


def a_simulator(**histories: History) -> Simulator:
    simulator = Simulator(SimulatorSettings(silent_share=0.1, wall=lambda: NOW / 1_000))
    for exchange, history in histories.items():
        simulator.venues[exchange].set_history(SYMBOLS[exchange], history)
    return simulator


def truth(simulator: Simulator, exchange: str, timeframe: str = "1m", **query: int) -> SeriesTruth:
    texts = {name: str(value) for name, value in query.items()}
    return read_truth(simulator, {"exchange": exchange, "symbol": SYMBOLS[exchange], "timeframe": timeframe} | texts)


def send(simulator: Simulator, exchange: str, since: int) -> list[list[float]]:
    """The closed rows of one reply for one-minute candles, in milliseconds and as numbers, ascending."""
    page = simulator.moods.moods_for(Target(exchange, SYMBOLS[exchange], "1m"), time.monotonic()).page
    host, path, query = {
        "binance": ("api.binance.com", "/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1m", "startTime": since}),
        "kraken": ("api.kraken.com", "/0/public/OHLC", {"pair": "XXBTZUSD", "since": since // 1_000 - 60}),
        "coinbase": (
            "api.coinbase.com",
            "/api/v3/brokerage/market/products/BTC-USD/candles",
            {"granularity": "ONE_MINUTE", "start": since // 1_000, "end": since // 1_000 + 300 * 60},
        ),
        "bybit": (
            "api.bybit.com",
            "/v5/market/kline",
            {"category": "spot", "symbol": "BTCUSDT", "interval": 1, "start": since},
        ),
        "okx": (
            "www.okx.com",
            "/api/v5/market/history-candles",
            {"instId": "BTC-USDT", "before": since - 1, "after": since + 300 * MINUTE, "limit": 300},
        ),
    }[exchange]
    request = ExchangeRequest(host, path, {name: str(value) for name, value in query.items()}, NOW, page)
    content = json.loads(simulator.by_host[host].respond(request).body)
    return sorted(row for row in _numbers(exchange, content) if row[0] < OPEN)


def _numbers(exchange: str, content: Any) -> list[list[float]]:
    match exchange:
        case "coinbase":
            names = ("start", "open", "high", "low", "close", "volume")
            rows = [[row[name] for name in names] for row in content["candles"]]
        case "kraken":
            rows = [[*row[:5], row[6]] for row in content["result"]["XXBTZUSD"]]
        case "bybit":
            rows = content["result"]["list"]
        case "okx":
            rows = content["data"]
        case _:
            rows = content
    unit = 1_000 if exchange in ("coinbase", "kraken") else 1
    return [[int(row[0]) * unit, *(float(value or "nan") for value in row[1:6])] for row in rows]


def read_all(simulator: Simulator, exchange: str, start: int) -> list[list[float]]:
    """All rows from `start`, by requests every hundred minutes."""
    rows: dict[float, list[float]] = {}
    for since in range(start, OPEN, 100 * MINUTE):
        rows |= {row[0]: row for row in send(simulator, exchange, since)}
    return [rows[open_ms] for open_ms in sorted(rows)]


minute = st.integers(0, 500).map(lambda number: OPEN - number * MINUTE)
histories = st.builds(
    History,
    silences=st.lists(minute.map(lambda at: (at, at + 90 * MINUTE)), max_size=2).map(tuple),
    fills=st.sampled_from([None, True, False]),
    silent_share=st.sampled_from([None, 0.4]),
    listed=st.one_of(st.just(0), minute),
    delisted=st.one_of(st.just(4_000_000_000_000), minute),
)


@pytest.mark.parametrize("exchange", SYMBOLS)
@settings(max_examples=15, deadline=None)
@given(history=histories)
def test_without_moods_an_exchange_sends_exactly_the_candles_that_exist(exchange: str, history: History) -> None:
    simulator = a_simulator(**{exchange: history})
    start = OPEN - 600 * MINUTE
    known = truth(simulator, exchange, start=start, end=OPEN)
    assert read_all(simulator, exchange, start) == known.candles
    assert known.offered == [int(row[0]) for row in known.candles]
    assert (known.impossible, known.impossible_shown) == ([], [])
    query = {"exchange": exchange, "symbol": SYMBOLS[exchange], "timeframe": "1m", "start": str(start)}
    assert true_candles(simulator, query) == known.candles


def test_kraken_offers_only_its_newest_rows() -> None:
    known = truth(a_simulator(), "kraken", start=OPEN - 2_000 * MINUTE)
    assert len(known.candles) == 2_000
    assert known.offered == [OPEN - number * MINUTE for number in range(719, 0, -1)]


def test_moods_change_what_is_offered_and_not_what_exists() -> None:
    simulator = a_simulator()
    before = truth(simulator, "binance", start=OPEN - HOUR)
    mood = {"kind": "page", "symbol": "BTC/USDT", "page": {"horizon": 30, "lag_minutes": 5}}
    simulator.moods.add(parse_mood(mood), time.monotonic())
    during = truth(simulator, "binance", start=OPEN - HOUR)
    assert during.candles == before.candles
    assert during.offered == [OPEN - number * MINUTE for number in range(34, 5, -1)]
    simulator.moods.clear()
    assert truth(simulator, "binance", start=OPEN - HOUR) == before


def test_impossible_rows_are_known_and_remembered_after_the_mood() -> None:
    simulator = a_simulator()
    bad = [OPEN - 10 * MINUTE, OPEN - 5 * MINUTE]
    mood = {"kind": "page", "page": {"impossible": "open_below_low", "impossible_at": bad}}
    simulator.moods.add(parse_mood(mood), time.monotonic())
    assert truth(simulator, "bybit", start=OPEN - HOUR).impossible == bad
    for since in (OPEN - 8 * MINUTE, OPEN - HOUR):
        send(simulator, "bybit", since)
    simulator.moods.clear()
    after = truth(simulator, "bybit", start=OPEN - HOUR)
    assert after.impossible == []
    assert after.impossible_shown == [(bad[0], 1), (bad[1], 2)]
    assert truth(simulator, "bybit", start=OPEN - 7 * MINUTE).impossible_shown == [(bad[1], 2)]


@pytest.mark.parametrize(
    ("page", "impossible"),
    [
        ({"impossible": "duplicate", "impossible_share": 1}, 0),
        ({"impossible": "mixed", "impossible_share": 1}, 54),
        ({"impossible": "zeros", "impossible_every": 2}, 0),
        ({"impossible": "zeros", "impossible_every": 1}, 60),
    ],
)
def test_only_rows_that_are_always_impossible_are_called_so(page: dict[str, Any], impossible: int) -> None:
    simulator = a_simulator()
    simulator.moods.add(parse_mood({"kind": "page", "page": page}), time.monotonic())
    known = truth(simulator, "binance", start=OPEN - HOUR)
    assert len(known.impossible) == impossible
    send(simulator, "binance", OPEN - HOUR)
    shown = truth(simulator, "binance", start=OPEN - HOUR).impossible_shown
    assert len(shown) == (30 if page.get("impossible_every") == 2 else impossible)


def test_a_malformed_mood_leaves_the_truth_readable() -> None:
    simulator = a_simulator()
    simulator.moods.add(parse_mood({"kind": "malformed"}), time.monotonic())
    assert truth(simulator, "okx", start=OPEN - HOUR).impossible == []


def test_a_vanished_market_has_candles_and_offers_none() -> None:
    known = truth(a_simulator(okx=History(status=Status.VANISHED)), "okx", start=OPEN - HOUR)
    assert len(known.candles) == 60
    assert known.offered == []


def test_days_that_open_elsewhere_are_in_the_truth() -> None:
    known = truth(a_simulator(binance=History(utc_offset_hours=8)), "binance", "1d")
    day = FRAMES["1d"].step_ms
    assert {int(row[0]) % day for row in known.candles} == {16 * HOUR}


@pytest.mark.parametrize("fills", [True, False])
def test_a_share_of_minutes_without_trades_can_be_set(fills: bool) -> None:
    known = truth(a_simulator(binance=History(silent_share=0.5, fills=fills)), "binance", start=OPEN - HOUR)
    traded = [row for row in known.candles if row[5]]
    assert 15 < len(traded) < 45
    assert len(known.candles) == (60 if fills else len(traded))


def test_histories_of_one_market_leave_the_others_alone() -> None:
    simulator = a_simulator()
    simulator.venues["okx"].set_history("BTC/USDT", History(delisted=OPEN - HOUR))
    query = {"exchange": "okx", "symbol": "ETH/USDT", "timeframe": "1m", "start": str(OPEN - HOUR)}
    assert len(read_truth(simulator, query).candles) == 60
    assert truth(simulator, "okx", start=OPEN - HOUR).candles == []
    simulator.venues["okx"].set_history("BTC/USDT", None)
    assert len(truth(simulator, "okx", start=OPEN - HOUR).candles) == 60
