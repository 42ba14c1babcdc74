"""The checks and warnings by the exchange catalogue."""

import subprocess
import sys

import pytest
from pydantic import TypeAdapter

from admin_api.http.errors import InvalidInput
from admin_api.http.exchange_catalogue import duration_text, load_catalogue, loss_warnings
from contracts.vocabulary import ExchangeId, Timeframes

CATALOGUE = load_catalogue()


def refusal(exchange: str, symbol: str, *timeframes: str, allowed: frozenset[str] = frozenset()) -> dict[str, str]:
    """The pointers and reasons of the error."""
    with pytest.raises(InvalidInput) as refused:
        load_catalogue(allowed).require_collectable(exchange, symbol, timeframes)
    return {error.pointer: error.detail for error in refused.value.errors}


def test_the_api_starts_without_ccxt() -> None:
    code = "import admin_api.__main__, sys; sys.exit('ccxt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_the_catalogue_contains_the_common_exchanges() -> None:
    assert {"binance", "bybit", "coinbase", "kraken", "okx"} <= CATALOGUE.exchanges.keys()
    assert CATALOGUE.exchanges["coinbase"].timeframes == ("1m", "5m", "15m", "30m", "1h", "2h", "6h", "1d")


def test_every_exchange_id_and_timeframe_of_the_catalogue_is_valid_in_contracts() -> None:
    for key, exchange in CATALOGUE.exchanges.items():
        TypeAdapter(ExchangeId).validate_python(key)
        TypeAdapter(Timeframes).validate_python(exchange.timeframes)


@pytest.mark.parametrize(
    ("exchange", "symbol", "timeframes"),
    [
        ("kraken", "XRP/USDT", ["1m", "2w"]),
        ("binance", "BTC/USDT:USDT", ["1m", "1M"]),
        ("binance", "BTC/USD:BTC", ["1m"]),
        ("bitbank", "BTC/JPY", ["1m", "1h"]),
        ("bitfinex", "BTC/USD:BTC", ["1m"]),
    ],
)
def test_offered_series_are_accepted(exchange: str, symbol: str, timeframes: list[str]) -> None:
    CATALOGUE.require_collectable(exchange, symbol, timeframes)


def test_the_error_names_each_missing_timeframe_and_the_offered_ones() -> None:
    errors = refusal("kraken", "BTC/USDT", "3m", "1m", "12h")
    assert errors.keys() == {"#/timeframes/0", "#/timeframes/2"}
    assert "1m, 5m, 15m, 30m, 1h, 4h, 1d, 1w, 2w" in errors["#/timeframes/0"]


@pytest.mark.parametrize(
    ("wrong", "hint"), [("krakn", "did you mean kraken"), ("BINANCE", "did you mean binance"), ("q", "use ccxt's id")]
)
def test_an_unknown_exchange_is_refused_with_a_hint(wrong: str, hint: str) -> None:
    assert hint in refusal(wrong, "BTC/USDT", "1m")["#/exchange"]


@pytest.mark.parametrize(
    ("exchange", "symbol", "timeframe", "reason"),
    [
        pytest.param("luno", "BTC/ZAR", "1m", "sends no credentials", id="keys for candles"),
        pytest.param("alpaca", "BTC/USD", "1m", "sends no credentials", id="keys for markets"),
        pytest.param("woofipro", "BTC/USDC:USDC", "1h", "sends no credentials", id="keys for candles of swaps"),
        pytest.param("bitbank", "BTC/JPY", "4h", "yearly files", id="a wrong path"),
        pytest.param("bitbank", "BTC/JPY", "1d", "yearly files", id="a wrong path for days"),
        pytest.param("bigone", "BTC/USDT:USDT", "1m", "only fetch ohlcvs for spot markets", id="no request for swaps"),
        pytest.param("cex", "BTC/USD", "1m", "dataType", id="a parameter that cannot be configured"),
    ],
)
def test_candles_that_can_never_be_collected_are_refused(
    exchange: str, symbol: str, timeframe: str, reason: str
) -> None:
    errors = refusal(exchange, symbol, timeframe)
    assert errors.keys() == {"#/timeframes/0"}
    assert reason in errors["#/timeframes/0"]


@pytest.mark.parametrize("symbol", ["BTC/USD:BTC-240628", "BTC/USDT:USDT-261225", "BTC/USD:BTC-240628-50000-C"])
def test_markets_with_an_expiry_date_are_refused(symbol: str) -> None:
    assert "that expires on 20" in refusal("okx", symbol, "1m")["#/symbol"]


@pytest.mark.parametrize(
    ("exchange", "symbol", "reason"),
    [
        ("kraken", "BTC/USDT:USDT", "kraken has no swaps in ccxt"),
        ("krakenfutures", "BTC/USD", "krakenfutures has no spot markets in ccxt"),
    ],
)
def test_a_kind_of_market_that_the_exchange_lacks_is_refused(exchange: str, symbol: str, reason: str) -> None:
    assert reason in refusal(exchange, symbol, "1m")["#/symbol"]


def test_an_exchange_that_is_not_allowed_is_refused() -> None:
    errors = refusal("kraken", "BTC/USDT", "1m", allowed=frozenset({"okx", "binance"}))
    assert errors == {"#/exchange": "kraken is not allowed here; EXCHANGES_ALLOWED permits binance, okx"}
    load_catalogue(frozenset({"kraken"})).require_collectable("kraken", "BTC/USDT", ["1m"])


@pytest.mark.parametrize(
    ("exchange", "symbol", "timeframe", "longest"),
    [
        pytest.param("kraken", "BTC/USDT", "1m", 718, id="keeps 720 candles"),
        pytest.param("kraken", "BTC/USDT", "5m", 5 * 718, id="keeps 720 candles of five minutes"),
        pytest.param("hyperliquid", "BTC/USDC:USDC", "1m", 4998, id="keeps 5000 candles"),
        pytest.param("bithumb", "BTC/KRW", "1m", 198, id="sends the newest 200"),
        pytest.param("gemini", "BTC/USD", "1m", 98, id="neither since nor a number"),
        pytest.param("hitbtc", "BTC/USDT", "1m", 998, id="sends the newest 1000 after since"),
    ],
)
def test_an_interval_that_loses_candles_gets_a_warning(
    exchange: str, symbol: str, timeframe: str, longest: int
) -> None:
    assert loss_warnings(exchange, symbol, [timeframe], longest) == []
    [warning] = loss_warnings(exchange, symbol, [timeframe, "1d"], longest + 1)
    assert warning.startswith(f"{timeframe}: {exchange} sends only the newest")
    assert warning.endswith(f"set interval_minutes to {longest} or less")


@pytest.mark.parametrize(
    ("exchange", "symbol"), [("binance", "BTC/USDT"), ("nado", "BTC/USDT"), ("no such exchange", "BTC/USDT")]
)
def test_other_exchanges_get_no_warning(exchange: str, symbol: str) -> None:
    """Nado sends no start, but an end: so the collector can read older pages."""
    assert loss_warnings(exchange, symbol, ["1m"], 10_080) == []


@pytest.mark.parametrize(
    ("minutes", "text"), [(59, "59 minutes"), (119, "119 minutes"), (720, "12 hours"), (2880, "2 days")]
)
def test_durations_in_words(minutes: int, text: str) -> None:
    assert duration_text(minutes * 60_000) == text
