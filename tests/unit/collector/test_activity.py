"""The trade count and the quote volume of raw rows."""

import ccxt.async_support as ccxt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.candles.pages import SeriesCalendar, read_page
from collector.exchange.activity import ActivityReader, parse_quote_volume, parse_trades
from collector.exchange.ccxt_setup import keep_activity
from collector.exchange.strict_http import strict_class
from collector.exchange.traits import ExchangeTraits
from collector.exchange.traits_table import traits_of
from contracts.candles import Activity
from contracts.exchange_catalogue import MarketKind

MINUTE = 60_000
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)
BINANCE = [0, "1", "2", "1", "2", "9", 59_999, "13.5", 40, "5", "6", "0"]


@given(ANYTHING)
def test_a_value_is_a_valid_number_or_it_is_refused(value: object) -> None:
    invalid: list[str] = []
    trades, quote_volume = ActivityReader(0, 1, invalid.append).read([value, value])
    assert trades is None or (isinstance(trades, int) and trades >= 0)
    assert quote_volume is None or 0 <= quote_volume < float("inf")
    assert ("trades" in invalid) == (trades is None and value is not None)
    assert ("quote_volume" in invalid) == (quote_volume is None and value is not None)


@pytest.mark.parametrize("value", [-1, "-1", 1.5, "1.5", "nan", True, "many", 1e30])
def test_a_count_is_a_whole_number_that_is_not_negative(value: object) -> None:
    with pytest.raises(ValueError, match="no count"):
        parse_trades(value)


def test_texts_and_numbers_are_read() -> None:
    assert (parse_trades("40"), parse_trades(40), parse_trades(40.0)) == (40, 40, 40)
    assert (parse_quote_volume("13.5"), parse_quote_volume(0)) == (13.5, 0.0)


@pytest.mark.parametrize(
    ("exchange", "kind", "row", "expected"),
    [
        ("binance", MarketKind.SPOT, BINANCE, (40, 13.5)),
        ("binance", MarketKind.INVERSE, BINANCE, (40, None)),
        ("okx", MarketKind.LINEAR, ["0", "1", "2", "1", "2", "628", "2.5", "62800", "1"], (None, 62800.0)),
        ("bybit", MarketKind.LINEAR, ["0", "1", "2", "1", "2", "3", "6"], (None, 6.0)),
        ("bybit", MarketKind.INVERSE, ["0", "1", "2", "1", "2", "3", "6"], (None, 3.0)),
        ("kraken", MarketKind.SPOT, [0, "1", "2", "1", "2", "1", "9", 5], (5, None)),
        ("kucoin", MarketKind.SPOT, ["0", "1", "2", "3", "1", "9", "18"], (None, 18.0)),
        ("hyperliquid", MarketKind.LINEAR, {"t": 0, "o": "1", "n": 46}, (46, None)),
        ("kraken", MarketKind.SPOT, [0, "1"], (None, None)),
    ],
)
def test_the_traits_name_the_places_of_the_values(
    exchange: str, kind: MarketKind, row: object, expected: tuple[int | None, float | None]
) -> None:
    traits, invalid = traits_of(exchange), list[str]()
    reader = ActivityReader(traits.raw_trades.get(kind), traits.raw_quote_volume.get(kind), invalid.append)
    assert (reader.read(row), invalid) == (expected, [])


async def test_the_values_follow_the_row_of_ccxt() -> None:
    client = strict_class(ccxt.binance)()
    usual = client.parse_ohlcvs([BINANCE], {"inverse": False})
    keep_activity(client, lambda row, _market: (row[8], float(row[7])) if isinstance(row, list) else (None, None))
    assert client.parse_ohlcvs([BINANCE], {"inverse": False}) == [[*usual[0], 40, 13.5]]
    await client.close()


def test_a_page_has_the_values_of_its_closed_candles_only() -> None:
    rows = [[n * MINUTE, 1.0, 2.0, 0.5, 1.5, 9.0, n, None] for n in range(3)]
    rows[1][6] = None
    calendar = SeriesCalendar.of(ExchangeTraits(), "1m")
    page = read_page(ExchangeTraits(), calendar, rows, since=0, now=2 * MINUTE)
    assert len(page.closed) == 2
    assert page.activity == {0: Activity(trades=0)}
