import random

from hypothesis import given
from hypothesis import strategies as st

from candle_writer.fold import SeriesKey, fold
from contracts.candles import Activity, CandlesCollected
from support.fetches import NOON_MS, a_candle, a_fetch

BTC = SeriesKey("binance", "BTC/USDT", "1m")


def closes(events: list[CandlesCollected], key: SeriesKey = BTC) -> list[float]:
    return [candle.close for candle, *_ in fold(events)[key].candles]


def test_the_newest_fetch_of_a_candle_counts_at_any_place_in_the_batch() -> None:
    old, new = a_fetch(a_candle(close=1.0), second=1), a_fetch(a_candle(close=2.0), second=2)
    assert closes([old, new]) == closes([new, old]) == [2.0]


def test_of_two_fetches_with_the_same_time_the_later_message_counts() -> None:
    one, two = a_fetch(a_candle(close=1.0)), a_fetch(a_candle(close=2.0))
    assert (closes([one, two]), closes([two, one])) == ([2.0], [1.0])


def test_overlapping_pages_give_each_candle_once_and_in_order() -> None:
    late = a_fetch(a_candle(2, 2.0), a_candle(3, 3.0), second=1)
    early = a_fetch(a_candle(0, 0.0), a_candle(1, 1.0), a_candle(2, -2.0), second=0)
    assert closes([late, early]) == [0.0, 1.0, 2.0, 3.0]


def test_series_do_not_mix() -> None:
    hourly = a_fetch(a_candle(close=7.0), timeframe="1h")
    swap = a_fetch(a_candle(close=8.0), symbol="BTC/USDT:USDT")
    folded = fold([a_fetch(), hourly, swap])
    assert len(folded) == 3
    assert closes([a_fetch(), hourly, swap], SeriesKey("binance", "BTC/USDT", "1h")) == [7.0]


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.sets(st.integers(0, 5), min_size=1)),
        min_size=1,
        max_size=8,
        unique_by=lambda t: t[0],
    ),
    st.randoms(),
)
def test_any_order_and_any_duplicates_give_the_same_candles(
    fetches: list[tuple[int, set[int]]], rng: random.Random
) -> None:
    events = [
        a_fetch(*(a_candle(m, close=float(second)) for m in sorted(minutes)), second=second)
        for second, minutes in fetches
    ]
    newest = {minute: second for second, minutes in sorted(fetches) for minute in minutes}
    delivered = events * 2
    rng.shuffle(delivered)
    rows = [(candle.open_ms, candle.close) for candle, *_ in fold(delivered)[BTC].candles]
    assert rows == [(NOON_MS + minute * 60_000, float(second)) for minute, second in sorted(newest.items())]


def test_a_newer_fetch_without_trades_keeps_those_of_the_same_candle() -> None:
    known = a_fetch(a_candle(), second=1, trades=(7,), quote_volumes=(70.0,))
    assert fold([known, a_fetch(a_candle(), second=2)])[BTC].candles[0][2] == Activity(7, 70.0)
    other = a_fetch(a_candle(close=99.5), second=2)
    assert fold([known, other])[BTC].candles[0][2] == Activity()
