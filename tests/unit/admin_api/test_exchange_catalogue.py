import subprocess
import sys

import pytest

from admin_api.http.errors import InvalidInput
from admin_api.http.exchange_catalogue import load_catalogue, require_offered


def test_the_api_starts_without_ccxt() -> None:
    code = "import admin_api.__main__, sys; sys.exit('ccxt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_the_catalogue_contains_the_common_exchanges() -> None:
    catalogue = load_catalogue()
    assert {"binance", "bybit", "coinbase", "kraken", "okx"} <= catalogue.keys()
    assert catalogue["coinbase"].timeframes == ("1m", "5m", "15m", "30m", "1h", "2h", "6h", "1d")


def test_every_exchange_id_and_timeframe_of_the_catalogue_is_valid_in_contracts() -> None:
    from pydantic import TypeAdapter

    from contracts.vocabulary import ExchangeId, Timeframes

    for key, exchange in load_catalogue().items():
        TypeAdapter(ExchangeId).validate_python(key)
        TypeAdapter(Timeframes).validate_python(exchange.timeframes)


def test_offered_timeframes_are_accepted() -> None:
    require_offered(load_catalogue(), "kraken", ["1m", "2w"])


def test_the_error_names_each_missing_timeframe_and_the_offered_ones() -> None:
    with pytest.raises(InvalidInput) as refused:
        require_offered(load_catalogue(), "kraken", ["3m", "1m", "12h"])
    assert [error.pointer for error in refused.value.errors] == ["#/timeframes/0", "#/timeframes/2"]
    assert "1m, 5m, 15m, 30m, 1h, 4h, 1d, 1w, 2w" in refused.value.detail


@pytest.mark.parametrize(
    ("wrong", "hint"), [("krakn", "did you mean kraken"), ("BINANCE", "did you mean binance"), ("q", "use ccxt's id")]
)
def test_an_unknown_exchange_is_refused_with_a_hint(wrong: str, hint: str) -> None:
    with pytest.raises(InvalidInput, match=hint):
        require_offered(load_catalogue(), wrong, ["1m"])
