import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange_simulator.dialects.dialect import ExchangeRequest, RefusedError, Reply
from exchange_simulator.settings import SimulatorSettings
from exchange_simulator.simulator import Simulator
from exchange_simulator.timeframes import DAY, FRAMES, HOUR, MINUTE

NOW = 1_760_000_030_000
OPEN = FRAMES["1m"].floor(NOW)
SIMULATOR = Simulator(SimulatorSettings(silent_share=0.0))
SILENT = Simulator(SimulatorSettings(silent_share=0.3))


def send(host: str, path: str, *, simulator: Simulator = SIMULATOR, **query: Any) -> Reply:
    request = ExchangeRequest(host, path, {name: str(value) for name, value in query.items()}, NOW)
    try:
        return simulator.by_host[host].respond(request)
    except RefusedError as refused:
        return refused.reply


def binance(**query: Any) -> Reply:
    return send("api.binance.com", "/api/v3/klines", **{"symbol": "BTCUSDT", "interval": "1m", **query})


def kraken(**query: Any) -> Reply:
    return send("api.kraken.com", "/0/public/OHLC", **{"pair": "XXBTZUSD", "interval": 1, **query})


def coinbase(**query: Any) -> Reply:
    path = f"/api/v3/brokerage/market/products/{query.pop('product', 'BTC-USD')}/candles"
    return send("api.coinbase.com", path, **{"granularity": "ONE_MINUTE", **query})


def bybit(**query: Any) -> Reply:
    query = {"category": "spot", "symbol": "BTCUSDT", "interval": 1, **query}
    return send("api.bybit.com", "/v5/market/kline", **query)


def okx(*, kind: str = "candles", **query: Any) -> Reply:
    return send("www.okx.com", f"/api/v5/market/{kind}", **{"instId": "BTC-USDT", "bar": "1m", **query})


def body(reply: Reply) -> Any:
    return json.loads(reply.body)


def opens(reply: Reply) -> list[int]:
    """Open times in milliseconds, in the order of the reply."""
    content = body(reply)
    if isinstance(content, list):
        return [row[0] for row in content]
    if "candles" in content:
        return [int(row["start"]) * 1_000 for row in content["candles"]]
    if "result" in content and "last" in content["result"]:
        rows = next(value for name, value in content["result"].items() if name != "last")
        return [row[0] * 1_000 for row in rows]
    rows = content["data"] if "data" in content else content["result"]["list"]
    return [int(row[0]) for row in rows]


def minutes(first: int, last: int, step: int = MINUTE) -> list[int]:
    return list(range(first, last + 1, step))


class TestBinance:
    def test_gives_500_ascending_rows_with_the_open_candle_last(self) -> None:
        assert opens(binance()) == minutes(OPEN - 499 * MINUTE, OPEN)

    def test_reduces_a_high_limit_without_an_error(self) -> None:
        assert len(opens(binance(limit=5_000))) == 1_000

    def test_gives_the_oldest_rows_from_a_start(self) -> None:
        start = OPEN - HOUR
        assert opens(binance(startTime=start, limit=3)) == minutes(start, start + 2 * MINUTE)

    def test_includes_both_bounds(self) -> None:
        start, end = OPEN - HOUR, OPEN - HOUR + 2 * MINUTE
        assert opens(binance(startTime=start, endTime=end)) == minutes(start, end)
        assert opens(binance(startTime=start + 1, endTime=end - 1)) == [start + MINUTE]

    def test_gives_the_newest_rows_before_an_end(self) -> None:
        assert opens(binance(endTime=OPEN - HOUR, limit=2)) == minutes(OPEN - HOUR - MINUTE, OPEN - HOUR)

    def test_has_no_rows_after_now(self) -> None:
        assert opens(binance(startTime=NOW + HOUR)) == []

    def test_writes_eight_decimals_on_spot_and_the_tick_on_futures(self) -> None:
        assert body(binance(limit=1))[0][1].partition(".")[2].__len__() == 8
        swap = send("fapi.binance.com", "/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=1)
        assert body(swap)[0][1].partition(".")[2].__len__() == 2

    def test_gives_the_end_of_a_month(self) -> None:
        row = body(binance(interval="1M", limit=2))[0]
        assert row[6] == FRAMES["1M"].plus(row[0], 1) - 1

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ({"symbol": "NOPE"}, -1121),
            ({"interval": "7m"}, -1120),
            ({"limit": "x"}, -1100),
            ({"limit": 0}, -1130),
            ({"startTime": "-5"}, -1100),
        ],
    )
    def test_refuses_with_its_error_codes(self, query: dict[str, Any], code: int) -> None:
        reply = binance(**query)
        assert (reply.status, body(reply)["code"]) == (400, code)

    def test_lists_only_the_requested_symbols(self) -> None:
        info = send("api.binance.com", "/api/v3/exchangeInfo", symbols='["ETHUSDT","BTCUSDT"]')
        assert [entry["symbol"] for entry in body(info)["symbols"]] == ["ETHUSDT", "BTCUSDT"]
        assert body(send("api.binance.com", "/api/v3/exchangeInfo", symbols='["NOPE"]'))["code"] == -1121
        assert body(send("api.binance.com", "/api/v3/exchangeInfo", symbols="[1"))["code"] == -1100


class TestKraken:
    def test_gives_the_newest_720_rows_with_the_open_candle_last(self) -> None:
        assert opens(kraken()) == minutes(OPEN - 719 * MINUTE, OPEN)
        assert body(kraken())["result"]["last"] == (OPEN - MINUTE) // 1_000

    def test_ignores_a_since_before_the_newest_720_rows(self) -> None:
        assert opens(kraken(since=(OPEN - 30 * DAY) // 1_000)) == opens(kraken())

    def test_excludes_the_candle_at_since(self) -> None:
        since = OPEN - 10 * MINUTE
        assert opens(kraken(since=since // 1_000)) == minutes(since + MINUTE, OPEN)

    def test_shows_the_open_candle_for_any_since(self) -> None:
        assert opens(kraken(since=(NOW + HOUR) // 1_000)) == [OPEN]

    def test_shows_minutes_without_trades_as_flat_rows(self) -> None:
        reply = send("api.kraken.com", "/0/public/OHLC", simulator=SILENT, pair="XXBTZUSD")
        rows = body(reply)["result"]["XXBTZUSD"]
        silent = [row for row in rows if not float(row[6])]
        assert len(rows) == 720
        assert 100 < len(silent) < 320
        assert all(row[1] == row[2] == row[3] == row[4] and row[7] == 0 for row in silent)

    @pytest.mark.parametrize("name", ["XXBTZUSD", "XBTUSD", "XBT/USD"])
    def test_accepts_all_names_of_a_pair_and_uses_its_key_in_the_reply(self, name: str) -> None:
        assert "XXBTZUSD" in body(kraken(pair=name))["result"]

    def test_refuses_with_status_200(self) -> None:
        assert (kraken(pair="NOPE").status, body(kraken(pair="NOPE"))["error"]) == (200, ["EQuery:Unknown asset pair"])
        assert body(kraken(interval=7))["error"] == ["EGeneral:Invalid arguments"]


class TestCoinbase:
    def test_gives_the_newest_row_first_with_both_bounds_and_without_the_open_candle(self) -> None:
        reply = coinbase(start=(OPEN - 3 * MINUTE) // 1_000, end=NOW // 1_000)
        assert opens(reply) == minutes(OPEN - 3 * MINUTE, OPEN - MINUTE)[::-1]
        past = coinbase(start=(OPEN - 9 * MINUTE) // 1_000, end=(OPEN - 7 * MINUTE) // 1_000)
        assert len(opens(past)) == 3

    def test_refuses_more_than_300_candles(self) -> None:
        start = (OPEN - DAY) // 1_000
        assert coinbase(start=start, end=start + 300 * 60).status == 200
        refused = coinbase(start=start, end=start + 301 * 60)
        assert (refused.status, body(refused)["error"]) == (400, "INVALID_ARGUMENT")
        assert "number of candles requested should be less than 300" in body(refused)["message"]

    def test_omits_minutes_without_trades(self) -> None:
        start = (OPEN - DAY) // 1_000
        path = "/api/v3/brokerage/market/products/BTC-USD/candles"
        query = {"granularity": "ONE_MINUTE", "start": start, "end": start + 299 * 60}
        rows = body(send("api.coinbase.com", path, simulator=SILENT, **query))["candles"]
        assert 150 < len(rows) < 260
        assert all(float(row["volume"]) for row in rows)

    def test_refuses_unknown_values(self) -> None:
        assert (coinbase(product="NO-PE", start=1, end=2).status, coinbase(start=5, end=2).status) == (404, 400)
        assert body(coinbase(granularity="ONE_WEEK", start=1, end=2))["error"] == "INVALID_ARGUMENT"
        assert coinbase().status == 400


class TestBybit:
    def test_gives_200_rows_with_the_open_candle_first(self) -> None:
        assert opens(bybit()) == minutes(OPEN - 199 * MINUTE, OPEN)[::-1]
        assert len(opens(bybit(limit=5_000))) == 1_000

    def test_gives_the_oldest_rows_from_a_start_and_the_newest_before_an_end(self) -> None:
        start, end = OPEN - HOUR, OPEN - 30 * MINUTE
        assert opens(bybit(start=start, limit=3)) == minutes(start, start + 2 * MINUTE)[::-1]
        assert opens(bybit(end=end, limit=3)) == minutes(end - 2 * MINUTE, end)[::-1]
        assert opens(bybit(start=start, end=end, limit=3)) == minutes(end - 2 * MINUTE, end)[::-1]

    def test_has_different_candles_for_swaps(self) -> None:
        start = OPEN - HOUR
        spot, swap = bybit(start=start, limit=3), bybit(start=start, limit=3, category="linear")
        assert opens(spot) == opens(swap)
        assert body(spot)["result"]["list"] != body(swap)["result"]["list"]

    def test_refuses_with_status_200(self) -> None:
        refusals = [bybit(symbol="NOPE"), bybit(interval="7"), bybit(category="inverse"), bybit(limit="x")]
        assert [(reply.status, body(reply)["retCode"]) for reply in refusals] == [(200, 10001)] * 4


class TestOkx:
    def test_gives_100_rows_with_the_open_candle_first_and_unconfirmed(self) -> None:
        reply = okx()
        assert opens(reply) == minutes(OPEN - 99 * MINUTE, OPEN)[::-1]
        assert [row[8] for row in body(reply)["data"]] == ["0"] + ["1"] * 99
        assert len(opens(okx(limit=5_000))) == 300

    def test_excludes_both_bounds(self) -> None:
        newer_than, older_than = OPEN - HOUR, OPEN - 50 * MINUTE
        reply = okx(before=newer_than, after=older_than)
        assert opens(reply) == minutes(newer_than + MINUTE, older_than - MINUTE)[::-1]

    def test_gives_the_newest_rows_even_with_before_alone(self) -> None:
        assert opens(okx(before=OPEN - HOUR, limit=2)) == [OPEN, OPEN - MINUTE]

    def test_goes_1440_candles_back_and_history_further(self) -> None:
        edge = OPEN - 1_439 * MINUTE
        assert opens(okx(after=edge + 2 * MINUTE)) == [edge + MINUTE, edge]
        assert len(opens(okx(kind="history-candles", after=edge))) == 100

    def test_history_has_closed_candles_only(self) -> None:
        assert opens(okx(kind="history-candles", limit=1)) == [OPEN - MINUTE]

    def test_opens_days_by_hong_kong_time_unless_utc_is_requested(self) -> None:
        assert opens(okx(bar="1D", limit=1))[0] % DAY == 16 * HOUR
        assert opens(okx(bar="1Dutc", limit=1))[0] % DAY == 0

    def test_counts_swap_volume_in_contracts(self) -> None:
        row = body(okx(instId="BTC-USDT-SWAP", limit=2))["data"][1]
        assert float(row[5]) * 0.01 == pytest.approx(float(row[6]))

    def test_refuses_with_its_error_codes(self) -> None:
        assert (okx(instId="NO-PE").status, body(okx(instId="NO-PE"))["code"]) == (200, "51001")
        assert (okx(bar="7m").status, body(okx(bar="7m"))["code"]) == (400, "51000")
        assert body(okx(limit="x"))["code"] == "51000"


VALUES = st.one_of(
    st.integers(0, 10**30).map(str),
    st.sampled_from(
        ["", "-1", "x", "1m", "1", "D", "1M", "3M", "3Mutc", "ONE_DAY", "linear", "spot", "BTCUSDT", "9" * 5_000]
    ),
    st.text(max_size=5),
)
QUERIES = {
    binance: ["symbol", "interval", "startTime", "endTime", "limit"],
    kraken: ["pair", "interval", "since"],
    coinbase: ["granularity", "start", "end", "limit"],
    bybit: ["category", "symbol", "interval", "start", "end", "limit"],
    okx: ["instId", "bar", "before", "after", "limit"],
}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(QUERIES)), st.data())
def test_no_query_causes_a_crash(exchange: Any, data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from(QUERIES[exchange])))
    reply = exchange(**{name: data.draw(VALUES) for name in sorted(names)})
    assert reply.status in {200, 400, 404}
    assert body(reply) is not None
