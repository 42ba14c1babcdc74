import pytest

from contracts.symbols import kind_of, reason_not_collected


@pytest.mark.parametrize(
    ("symbol", "reason"),
    [
        ("BTC/USD:BTC-240628", "a dated future that expires on 2024-06-28"),
        ("BTC/USDT:USDT-261225", "a dated future that expires on 2026-12-25"),
        ("BTC/USD:BTC-240699", "a dated future; Candlekeep"),
        ("BTC/USD:BTC-240628-60000-C", "an option that expires on 2024-06-28"),
        ("ETH/USDC:USDC-261225-2500.5-P", "an option that expires on 2026-12-25"),
    ],
)
def test_dated_futures_and_options_are_named(symbol: str, reason: str) -> None:
    assert (reason_not_collected(symbol) or "").startswith(f"{symbol} is {reason}")
    assert "spot markets (BASE/QUOTE) and perpetual swaps" in (reason_not_collected(symbol) or "")


@pytest.mark.parametrize("symbol", ["BTC/USDT", "BTC/USDT:USDT", "1000-PEPE/USDT", "A-240628/USDT", "BTC/USD:USDC-E"])
def test_spot_markets_and_perpetual_swaps_are_collected(symbol: str) -> None:
    assert reason_not_collected(symbol) is None


def test_the_kind_follows_from_the_settle_currency() -> None:
    assert (kind_of("BTC/USDT"), kind_of("BTC/USDT:USDT")) == ("spot", "swap")
