import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.candles.validation import FUTURE_TOLERANCE_MS, InvalidRow, is_consistent, open_time_check, read_page
from collector.exchange.traits import traits_of
from contracts.candles import Candle
from contracts.timeframes import DAY_MS, close_of, floor_open, shift

NOW = 1_791_282_309_000  # 9 seconds into a minute
MINUTE = 60_000
OPEN = NOW // MINUTE * MINUTE


def row(opens: int, *numbers: Any) -> list[Any]:
    return [opens, *(numbers or (10.0, 12.0, 9.0, 11.0, 3.5))]


def read(rows: list[Any], timeframe: str = "1m", since: int = 0, now: int = NOW, exchange: str = "binance") -> Any:
    return read_page(traits_of(exchange), timeframe, rows, since=since, now=now)


PRICES = st.floats(1e-9, 1e9)


@st.composite
def valid_rows(draw: st.DrawFn) -> list[list[float]]:
    opens = draw(st.lists(st.integers(-50, 0), unique=True, max_size=30))
    rows = []
    for index in opens:
        low, start, end, high = sorted(draw(st.tuples(PRICES, PRICES, PRICES, PRICES)))
        start, end = draw(st.permutations([start, end]))
        rows.append([OPEN + index * MINUTE, start, high, low, end, draw(st.floats(0, 1e12))])
    return rows


@given(valid_rows())
def test_valid_rows_become_closed_candles_ascending_and_without_duplicates(rows: list[list[float]]) -> None:
    page = read(rows + rows[:3])
    expected = {each[0]: each for each in rows}
    assert list(page.opens) == sorted(expected)
    assert [list(candle) for candle in page.closed] == [expected[at] for at in sorted(expected) if at + MINUTE <= NOW]


INVALID_NUMBERS = st.sampled_from([None, math.nan, math.inf, -math.inf, "1.0", True, [], -1.0])


@given(
    valid_rows().filter(lambda rows: any(each[0] < OPEN for each in rows)),
    st.integers(1, 5),
    INVALID_NUMBERS,
    st.data(),
)
def test_one_invalid_number_makes_the_whole_response_invalid(
    rows: list[list[Any]], field: int, invalid: Any, data: st.DataObject
) -> None:
    row_to_change = data.draw(st.sampled_from([each for each in rows if each[0] < OPEN]))
    row_to_change[field] = invalid
    with pytest.raises(InvalidRow):
        read(rows)


@pytest.mark.parametrize(
    "invalid",
    [
        [None, None, None, None, None, None],
        [3, None, None, None, None, None],  # how ccxt parses an HTML page
        "<html>",
        None,
        {},
        [OPEN - MINUTE, 1.0, 2.0],
        row(OPEN - MINUTE + 1),
        [float(OPEN - MINUTE), 10.0, 12.0, 9.0, 11.0, 3.5],
        [True, 10.0, 12.0, 9.0, 11.0, 3.5],
        row(OPEN - MINUTE, 0.0, 12.0, 0.0, 11.0, 3.5),
        row(OPEN - MINUTE, 10.0, 9.0, 12.0, 11.0, 3.5),
        row(OPEN - MINUTE, 10.0, 10.5, 9.0, 11.0, 3.5),
        row(OPEN - MINUTE, 10.0, 12.0, 10.5, 11.0, 3.5),
        row(OPEN - MINUTE, 10.0, 12.0, 9.0, 11.0, -0.1),
        row(OPEN + 2 * MINUTE),
    ],
)
def test_a_row_that_is_no_candle_is_refused(invalid: Any) -> None:
    with pytest.raises(InvalidRow):
        read([row(OPEN - 2 * MINUTE), invalid])


def test_two_different_candles_at_one_time_are_refused() -> None:
    with pytest.raises(InvalidRow, match="two different"):
        read([row(OPEN - MINUTE), row(OPEN - MINUTE, 10.0, 13.0, 9.0, 11.0, 3.5)])


def test_the_open_candle_counts_for_paging_and_is_not_stored() -> None:
    page = read([row(OPEN - MINUTE), row(OPEN, None, None, None, None, None)])
    assert page.opens == (OPEN - MINUTE, OPEN)
    assert page.closed == (Candle(OPEN - MINUTE, 10.0, 12.0, 9.0, 11.0, 3.5),)


def test_a_candle_is_closed_exactly_at_its_end() -> None:
    assert len(read([row(OPEN)], now=OPEN + MINUTE).closed) == 1
    assert len(read([row(OPEN)], now=OPEN + MINUTE - 1).closed) == 0


@given(st.sampled_from(["1w", "1M", "3M", "1y", "1d"]), st.integers(10**12, 2 * 10**12))
def test_long_candles_close_by_the_calendar(timeframe: str, now: int) -> None:
    opens = floor_open(timeframe, now)
    page = read([row(shift(timeframe, opens, -1)), row(opens)], timeframe, now=now)
    assert [candle.open_ms for candle in page.closed] == [shift(timeframe, opens, -1)]
    assert close_of(timeframe, page.closed[0].open_ms) <= now


def test_a_candle_slightly_ahead_of_the_estimated_time_is_valid() -> None:
    assert read([row(OPEN)], now=OPEN - FUTURE_TOLERANCE_MS).opens == (OPEN,)


def test_rows_before_the_requested_time_are_dropped() -> None:
    assert read([row(OPEN - 2 * MINUTE), row(OPEN - MINUTE)], since=OPEN - MINUTE).opens == (OPEN - MINUTE,)


def test_kraken_weeks_may_begin_on_thursday_and_binance_weeks_may_not() -> None:
    thursday = 1_790_812_800_000 // 604_800_000 * 604_800_000
    assert read([row(thursday)], "1w", now=thursday, exchange="kraken").opens == (thursday,)
    with pytest.raises(InvalidRow):
        read([row(thursday)], "1w", now=thursday, exchange="binance")


@given(PRICES, PRICES, PRICES, PRICES, st.floats(-1, 10))
def test_a_candle_is_consistent_if_no_price_contradicts_another(
    a: float, b: float, c: float, d: float, volume: float
) -> None:
    candle = Candle(0, a, b, c, d, volume)
    contradiction = c > min(a, d) or b < max(a, d) or volume < 0
    assert is_consistent(candle._replace(high=math.inf)) is False
    assert is_consistent(candle._replace(low=math.nan)) is False
    assert is_consistent(candle) is not contradiction


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


MONDAY, THURSDAY = ms("2026-03-02"), ms("2026-03-05")


@pytest.mark.parametrize(
    ("timeframe", "opens", "utc_days", "monday_weeks", "may_open"),
    [
        ("1m", MONDAY + 60_000, True, True, True),
        ("1m", MONDAY + 60_001, False, False, False),
        ("1h", MONDAY + 1_800_000, False, False, False),
        ("7h", MONDAY + 3_600_000, True, True, True),  # the start of counting is unknown: any hour
        ("7h", MONDAY + 60_000, True, True, False),
        ("1d", MONDAY + DAY_MS, True, True, True),
        ("1d", MONDAY + DAY_MS // 3, True, True, False),
        ("1d", MONDAY + DAY_MS // 3 * 2, False, False, True),  # midnight in Beijing
        ("1d", MONDAY + 60_000, False, False, False),
        ("1w", MONDAY, True, True, True),
        ("1w", THURSDAY, True, True, False),
        ("1w", THURSDAY, True, False, True),  # Kraken's weeks
        ("1M", ms("2026-03-01"), True, True, True),
        ("1M", MONDAY, True, True, False),
        ("3d", MONDAY, True, True, True),  # the start of counting is unknown: any midnight
    ],
)
def test_open_times_are_checked_only_if_they_are_certain(
    timeframe: str, opens: int, utc_days: bool, monday_weeks: bool, may_open: bool
) -> None:
    assert open_time_check(timeframe, utc_days=utc_days, monday_weeks=monday_weeks)(opens) is may_open
