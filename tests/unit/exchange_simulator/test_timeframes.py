from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_simulator.timeframes import FRAMES, LAST_MS, Frame, at_utc_offset, parse_instant

instants = st.integers(min_value=0, max_value=LAST_MS)
frames = st.sampled_from([at_utc_offset(frame, hours) for frame in FRAMES.values() for hours in (0, 8)])


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


@given(instants, frames)
def test_floor_is_the_open_time_of_the_candle_with_the_instant(instant: int, frame: Frame) -> None:
    assert frame.floor(instant) <= instant < frame.plus(frame.floor(instant), 1)


@given(instants, frames)
def test_ceil_is_the_next_open_time_or_the_instant_itself(instant: int, frame: Frame) -> None:
    ceiling = frame.ceil(instant)
    assert frame.floor(ceiling) == ceiling
    assert frame.plus(ceiling, -1) < instant <= ceiling


@given(instants, frames, st.integers(-50, 50))
def test_plus_and_minus_the_same_count_is_the_same_candle(instant: int, frame: Frame, count: int) -> None:
    open_ms = frame.floor(instant)
    assert frame.plus(frame.plus(open_ms, count), -count) == open_ms


@given(instants, frames)
def test_opens_are_all_open_times_in_the_range(instant: int, frame: Frame) -> None:
    first = frame.floor(instant)
    assert frame.opens(first, frame.plus(first, 3)) == [frame.plus(first, n) for n in range(4)]


@pytest.mark.parametrize(
    ("frame", "instant", "opens"),
    [
        ("1w", "2024-01-31T12:00", "2024-01-29"),
        ("1M", "2024-02-29T23:59", "2024-02-01"),
        ("3M", "2024-02-29T23:59", "2024-01-01"),
        ("3d", "2017-08-18T23:59", "2017-08-16"),
        ("4h", "2024-01-31T07:59", "2024-01-31T04:00"),
    ],
)
def test_candles_open_at_the_same_times_as_on_real_exchanges(frame: str, instant: str, opens: str) -> None:
    assert FRAMES[frame].floor(ms(instant)) == ms(opens)


def test_a_hong_kong_day_opens_at_four_in_the_afternoon_utc() -> None:
    assert at_utc_offset(FRAMES["1d"], 8).floor(ms("2024-01-31T12:00")) == ms("2024-01-30T16:00")
    assert at_utc_offset(FRAMES["1M"], 8).floor(ms("2024-01-31T17:00")) == ms("2024-01-31T16:00")


@pytest.mark.parametrize("text", ["1706745600000", "2024-02-01", "2024-02-01T00:00:00Z", "2024-02-01T01:00:00+01:00"])
def test_instants_are_parsed_in_both_forms(text: str) -> None:
    assert parse_instant(text) == ms("2024-02-01")
