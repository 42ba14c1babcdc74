from hypothesis import given
from hypothesis import strategies as st

from collector.candles.invented_rows import shows_no_trade, without_invented_rows
from collector.candles.pages import Page, SeriesCalendar
from collector.exchange.traits import ExchangeTraits
from contracts.candles import Activity, Candle

MINUTE = 60_000
CALENDAR = SeriesCalendar.of(ExchangeTraits(), "1m")


def a_page(volumes: list[float]) -> Page:
    """Closed minutes from 0 on with these volumes, and the open one."""
    closed = tuple(Candle(number * MINUTE, 1, 1, 1, 1, volume) for number, volume in enumerate(volumes))
    activity = {row.open_ms: Activity(int(row.volume), None) for row in closed}
    return Page((*(row.open_ms for row in closed), len(volumes) * MINUTE), closed, activity=activity)


def test_the_last_rows_without_a_trade_are_left_out_if_the_market_was_not_traded() -> None:
    page, invented = without_invented_rows(a_page([1, 0, 2, 0, 0]), CALENDAR, MINUTE)
    assert invented == (3 * MINUTE, 5 * MINUTE)
    assert page == Page((0, MINUTE, 2 * MINUTE), a_page([1, 0, 2]).closed, activity=a_page([1, 0, 2]).activity)


def test_rows_of_a_traded_market_are_kept() -> None:
    page = a_page([1, 0, 0])
    assert without_invented_rows(page, CALENDAR, None) == (page, None)
    assert without_invented_rows(page, CALENDAR, 3 * MINUTE) == (page, None)


def test_a_row_with_a_trade_or_a_price_change_is_no_invented_one() -> None:
    flat = Candle(0, 1, 1, 1, 1, 0)
    assert shows_no_trade(flat, None)
    assert shows_no_trade(flat, Activity(0, 0.0))
    assert not shows_no_trade(flat, Activity(1, None))
    assert not shows_no_trade(flat._replace(high=2), None)
    assert not shows_no_trade(flat._replace(volume=0.1), None)


@given(st.lists(st.sampled_from([0, 0, 1]), max_size=8), st.none() | st.integers(0, 9))
def test_no_row_with_a_trade_and_none_from_before_is_left_out(volumes: list[float], minute: int | None) -> None:
    whole = a_page(volumes)
    page, invented = without_invented_rows(whole, CALENDAR, None if minute is None else minute * MINUTE)
    left_out = [row for row in whole.closed if row not in page.closed]
    assert all(row.volume == 0 for row in left_out)
    assert all(minute is not None and row.open_ms >= minute * MINUTE for row in left_out)
    assert (invented is None) == (not left_out)
    if invented is not None:
        assert invented == (left_out[0].open_ms, left_out[-1].open_ms + MINUTE)
        assert max(page.opens, default=-1) < invented[0]
