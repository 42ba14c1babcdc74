from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.timeframes import (
    DAY_MS,
    HOUR_MS,
    TIMEFRAME_PATTERN,
    close_of,
    fixed_length,
    floor_open,
    longest_length,
    parse_timeframe,
    shift,
    shortest_length,
    timeframe_order,
)

TIMEFRAMES = ["1s", "1m", "5m", "15m", "1h", "4h", "12h", "1d", "3d", "1w", "2w", "1M", "3M", "1y"]
INSTANTS = st.integers(0, 4_000_000_000_000)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("timeframe", "instant", "opens", "closes"),
    [
        ("1m", "2026-03-01T12:34:56", "2026-03-01T12:34", "2026-03-01T12:35"),
        ("4h", "2026-03-01T23:59:59", "2026-03-01T20:00", "2026-03-02T00:00"),
        ("1w", "2026-03-01T12:00", "2026-02-23", "2026-03-02"),  # a Sunday: the week began on Monday
        ("1w", "2026-03-02T00:00", "2026-03-02", "2026-03-09"),
        ("1M", "2024-02-29T12:00", "2024-02-01", "2024-03-01"),
        ("1M", "2026-12-31T23:59", "2026-12-01", "2027-01-01"),
        ("3M", "2026-05-15T00:00", "2026-04-01", "2026-07-01"),
        ("1y", "2024-05-15T00:00", "2024-01-01", "2025-01-01"),
    ],
)
def test_candles_open_and_close_by_the_calendar(timeframe: str, instant: str, opens: str, closes: str) -> None:
    assert floor_open(timeframe, ms(instant)) == ms(opens)
    assert close_of(timeframe, ms(opens)) == ms(closes)


@given(st.sampled_from(TIMEFRAMES), INSTANTS)
def test_every_instant_lies_in_exactly_one_candle(timeframe: str, instant: int) -> None:
    opens = floor_open(timeframe, instant)
    assert opens <= instant < close_of(timeframe, opens)
    assert floor_open(timeframe, opens) == opens
    assert close_of(timeframe, opens) - opens >= shortest_length(timeframe)


@given(st.sampled_from(TIMEFRAMES), INSTANTS, st.integers(0, 50))
def test_shifting_there_and_back_is_the_same_candle(timeframe: str, instant: int, count: int) -> None:
    opens = floor_open(timeframe, instant)
    later = shift(timeframe, opens, count)
    assert floor_open(timeframe, later) == later
    assert shift(timeframe, later, -count) == opens


def test_a_month_that_opens_at_midnight_in_asia_is_not_closed_too_early() -> None:
    april_in_beijing, may_in_beijing = ms("2026-03-31T16:00"), ms("2026-04-30T16:00")
    assert close_of("1M", april_in_beijing) >= may_in_beijing
    assert close_of("1M", may_in_beijing) >= ms("2026-05-31T16:00")


def test_a_month_that_opens_late_on_the_first_keeps_its_hour() -> None:
    assert close_of("1M", ms("2026-04-01T05:00")) == ms("2026-05-01T05:00")


def test_timeframes_are_sorted_from_short_to_long() -> None:
    assert sorted(["1M", "1d", "90m", "1h", "1s", "?", "1w"], key=timeframe_order) == [
        *("1s", "1h", "90m", "1d", "1w", "1M", "?")
    ]


@given(st.from_regex(TIMEFRAME_PATTERN, fullmatch=True))
def test_every_timeframe_has_a_fixed_length_or_a_number_of_months(timeframe: str) -> None:
    parsed = parse_timeframe(timeframe)
    assert f"{parsed.amount}{parsed.unit}" == timeframe
    assert (parsed.fixed_ms is None) is (parsed.months is not None)
    assert 0 < parsed.shortest_ms <= parsed.nominal_ms <= parsed.longest_ms
    if parsed.fixed_ms is not None:
        assert parsed.shortest_ms == parsed.longest_ms == parsed.fixed_ms == fixed_length(timeframe)


@given(st.from_regex(TIMEFRAME_PATTERN, fullmatch=True), INSTANTS)
def test_no_candle_is_shorter_or_longer_than_its_bounds(timeframe: str, instant: int) -> None:
    opens = floor_open(timeframe, instant)
    assert shortest_length(timeframe) <= close_of(timeframe, opens) - opens <= longest_length(timeframe)


@pytest.mark.parametrize(
    ("timeframe", "amount", "unit", "fixed", "months"),
    [
        ("1s", 1, "s", 1_000, None),
        ("90m", 90, "m", 5_400_000, None),
        ("4h", 4, "h", 4 * HOUR_MS, None),
        ("3d", 3, "d", 3 * DAY_MS, None),
        ("2w", 2, "w", 14 * DAY_MS, None),
        ("3M", 3, "M", None, 3),
        ("1y", 1, "y", None, 12),
    ],
)
def test_a_timeframe_is_parsed(timeframe: str, amount: int, unit: str, fixed: int | None, months: int | None) -> None:
    parsed = parse_timeframe(timeframe)
    assert (parsed.amount, parsed.unit, parsed.fixed_ms, parsed.months) == (amount, unit, fixed, months)


def test_calendar_units_have_bounds() -> None:
    assert (shortest_length("1M"), longest_length("1M")) == (28 * DAY_MS, 31 * DAY_MS)
    assert (shortest_length("1y"), longest_length("1y")) == (365 * DAY_MS, 366 * DAY_MS)


@pytest.mark.parametrize(
    "text", ["", "m", "1", "0m", "01m", "1000m", "1x", "1 m", "1m\n", "-1m", "1.5h", "१m", "1H", "?"]
)
def test_an_invalid_timeframe_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 5m or 1M"):
        parse_timeframe(text)
