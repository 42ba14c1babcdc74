from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.timeframes import DAY_MS, close_of, floor_open, grid_of, shift, shortest_length

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


MONDAY, THURSDAY = ms("2026-03-02"), ms("2026-03-05")


@pytest.mark.parametrize(
    ("timeframe", "opens", "utc_days", "monday_weeks", "certain"),
    [
        ("1m", MONDAY + 60_000, True, True, True),
        ("1m", MONDAY + 60_001, False, False, False),
        ("1h", MONDAY + 1_800_000, False, False, False),
        ("7h", MONDAY + 3_600_000, True, True, True),  # counted from who knows where: any hour
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
        ("3d", MONDAY, True, True, True),  # who knows where they are counted from: any midnight
    ],
)
def test_the_grid_is_checked_only_where_it_is_certain(
    timeframe: str, opens: int, utc_days: bool, monday_weeks: bool, certain: bool
) -> None:
    assert grid_of(timeframe, utc_days=utc_days, monday_weeks=monday_weeks)(opens) is certain
