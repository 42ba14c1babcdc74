import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.candles.pages import (
    FUTURE_TOLERANCE_MS,
    Page,
    SeriesCalendar,
    UnusableAnswer,
    is_consistent,
    page_spans,
    read_page,
)
from collector.exchange.traits import ExchangeTraits
from collector.exchange.traits_table import traits_of
from collector.run.timeframe_run import rejected_row
from contracts.bounds import END_OF_MILLISECONDS, FIRST_INSTANT
from contracts.candles import Candle
from contracts.timeframes import DAY_MS, close_of, floor_open, parse_timeframe, shift

NOW = 1_791_282_309_000  # 9 seconds into a minute
MINUTE = 60_000
OPEN = NOW // MINUTE * MINUTE
MINUTES = SeriesCalendar.of(ExchangeTraits(), "1m")


def row(opens: int, *numbers: Any) -> list[Any]:
    return [opens, *(numbers or (10.0, 12.0, 9.0, 11.0, 3.5))]


def read(rows: list[Any], timeframe: str = "1m", since: int = 0, now: int = NOW, exchange: str = "binance") -> Page:
    return read_as(traits_of(exchange), rows, timeframe, since, now)


def read_as(traits: ExchangeTraits, rows: list[Any], timeframe: str = "1m", since: int = 0, now: int = NOW) -> Page:
    return read_page(traits, SeriesCalendar.of(traits, timeframe), rows, since=since, now=now)


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
def test_a_row_with_an_invalid_number_is_rejected_and_the_others_stay(
    rows: list[list[Any]], field: int, invalid: Any, data: st.DataObject
) -> None:
    expected = read(rows)
    row_to_change = data.draw(st.sampled_from([each for each in rows if each[0] < OPEN]))
    row_to_change[field] = invalid
    page = read(rows)
    assert [each.opens for each in page.rejected] == [row_to_change[0]]
    assert page.opens == expected.opens
    assert page.closed == tuple(candle for candle in expected.closed if candle.open_ms != row_to_change[0])


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
def test_a_row_that_is_no_candle_is_rejected_alone(invalid: Any) -> None:
    page = read([row(OPEN - n * MINUTE) for n in range(4, 1, -1)] + [invalid])
    assert [candle.open_ms for candle in page.closed] == [OPEN - n * MINUTE for n in range(4, 1, -1)]
    [rejected] = page.rejected
    assert rejected.reason
    assert all(
        rejected.opens < start or rejected.opens >= end for start, end in page_spans(MINUTES, page, settled_at=NOW)
    )


def test_an_answer_with_mostly_invalid_rows_is_unusable() -> None:
    with pytest.raises(UnusableAnswer, match="3 of 5 rows are no 1m candles"):
        read(
            [row(OPEN - n * MINUTE) for n in (7, 6)]
            + [row(OPEN - n * MINUTE, 0.0, 0.0, 0.0, 0.0, 0.0) for n in (5, 4, 3)]
        )
    with pytest.raises(UnusableAnswer, match="without an open time"):
        read([[3, None, None, None, None, None], [None, None, None, None, None, None], "<html>"][1:])


def test_rows_of_a_shorter_timeframe_are_unusable() -> None:
    start = OPEN // 3_600_000 * 3_600_000
    with pytest.raises(UnusableAnswer):
        read([row(start - n * MINUTE) for n in range(120)], "1h")
    with pytest.raises(UnusableAnswer, match="apart"):
        read_as(ExchangeTraits(), [row(start - n * 1_800_000) for n in range(7)], "1h")
    with pytest.raises(UnusableAnswer):
        read_as(ExchangeTraits(), [row(start - n * 14_400_000) for n in range(6)], "12h")


def test_two_rows_of_one_slot_with_other_values_are_both_rejected() -> None:
    page = read([row(OPEN - 2 * MINUTE), row(OPEN - MINUTE), row(OPEN - MINUTE, 10.0, 13.0, 9.0, 11.0, 3.5)])
    assert [candle.open_ms for candle in page.closed] == [OPEN - 2 * MINUTE]
    assert [each.opens for each in page.rejected] == [OPEN - MINUTE] * 2
    assert page_spans(MINUTES, page, settled_at=NOW) == ((OPEN - 2 * MINUTE, OPEN - MINUTE),)


def test_silence_between_rows_is_verified_only_if_it_is_older_than_the_settle_time() -> None:
    page = read([row(OPEN - n * MINUTE) for n in (30, 20, 8, 2)])
    spans = page_spans(MINUTES, page, settled_at=OPEN - 10 * MINUTE)
    assert spans == (
        (OPEN - 30 * MINUTE, OPEN - 19 * MINUTE),
        (OPEN - 8 * MINUTE, OPEN - 7 * MINUTE),
        (OPEN - 2 * MINUTE, OPEN - MINUTE),
    )


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


@pytest.mark.parametrize("behind", [MINUTE * 2, 3_600_000, 9 * DAY_MS], ids=["2 min", "1 h", "9 d"])
@pytest.mark.parametrize("timeframe", ["1m", "1h", "1d"])
def test_no_good_row_is_rejected_while_our_clock_may_be_behind(behind: int, timeframe: str) -> None:
    traits, length = traits_of("binance"), parse_timeframe(timeframe).nominal_ms
    rows = [row(floor_open(timeframe, OPEN) - n * length) for n in range(2 + 2 * (behind // length + 1))]
    now = OPEN - behind
    page = read_page(traits, SeriesCalendar.of(traits, timeframe), rows, since=0, now=now, is_time_confirmed=False)
    assert page.rejected == ()
    assert [candle.open_ms for candle in page.closed] == sorted(at for at, *_ in rows if at + length <= now)


def test_of_the_rows_before_the_requested_time_only_the_last_is_kept() -> None:
    page = read([row(OPEN - 3 * MINUTE), row(OPEN - 2 * MINUTE), row(OPEN)], since=OPEN - MINUTE)
    assert page.opens == (OPEN - 2 * MINUTE, OPEN)


def test_kraken_weeks_may_begin_on_thursday_and_binance_weeks_may_not() -> None:
    thursday = 1_790_812_800_000 // 604_800_000 * 604_800_000
    assert read([row(thursday)], "1w", now=thursday, exchange="kraken").opens == (thursday,)
    page = read([row(thursday)], "1w", now=thursday, exchange="binance")
    assert (page.opens, len(page.rejected)) == ((), 1)


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
        ("1h", MONDAY + 1_695_000, False, False, False),  # a recorded hour that began at :28:15
        ("7h", MONDAY + 3_600_000, True, True, True),  # the start of counting is unknown: any hour
        ("7h", MONDAY + 60_000, True, True, False),
        ("12h", MONDAY + 4 * 3_600_000, False, False, True),  # midnight in Beijing
        ("12h", MONDAY + 4 * 3_600_000, True, True, False),
        ("1d", MONDAY + DAY_MS, True, True, True),
        ("1d", MONDAY + DAY_MS // 3, True, True, False),
        ("1d", MONDAY + DAY_MS // 3 * 2, False, False, True),  # midnight in Beijing
        ("1d", MONDAY + 60_000, False, False, False),
        ("1w", MONDAY, True, True, True),
        ("1w", THURSDAY, True, True, False),
        ("1w", THURSDAY, True, False, True),  # Kraken's weeks
        ("1M", ms("2026-03-01"), True, True, True),
        ("1M", MONDAY, True, True, False),
        ("1M", ms("2026-02-28") + DAY_MS // 3 * 2, False, False, True),
        ("3d", MONDAY, True, True, True),  # the start of counting is unknown: any midnight
    ],
)
def test_open_times_are_checked_only_if_they_are_certain(
    timeframe: str, opens: int, utc_days: bool, monday_weeks: bool, may_open: bool
) -> None:
    traits = ExchangeTraits(utc_days=utc_days, monday_weeks=monday_weeks)
    assert (read_as(traits, [row(opens)], timeframe).opens == (opens,)) is may_open


def test_the_offset_of_most_rows_is_the_grid() -> None:
    beijing = MONDAY + 16 * 3_600_000
    rows = [row(beijing + n * DAY_MS) for n in range(5)]
    page = read_as(ExchangeTraits(), [*rows, row(beijing + 5 * DAY_MS + 4 * 3_600_000)], "1d")
    assert [each.opens for each in page.rejected] == [beijing + 5 * DAY_MS + 4 * 3_600_000]
    assert len(page.opens) == 5


def test_days_of_a_local_zone_may_move_by_an_hour() -> None:
    rows = [row(MONDAY + n * DAY_MS) for n in range(5)] + [row(MONDAY + n * DAY_MS - 3_600_000) for n in range(5, 8)]
    assert len(read_as(ExchangeTraits(), rows, "1d").opens) == 8


def test_rows_that_carry_the_close_are_moved_to_their_open() -> None:
    page = read_as(ExchangeTraits(labels_close=True), [row(OPEN - MINUTE), row(OPEN), row(OPEN + MINUTE)])
    assert page.opens == (OPEN - 2 * MINUTE, OPEN - MINUTE, OPEN)


def test_a_candle_with_an_unusual_length_closes_at_its_real_end() -> None:
    fifteen_days = 15 * DAY_MS
    traits = ExchangeTraits(candle_lengths={"2w": fifteen_days})
    opens = MONDAY // fifteen_days * fifteen_days
    assert read_as(traits, [row(opens)], "2w", now=opens + 14 * DAY_MS).closed == ()
    assert len(read_as(traits, [row(opens)], "2w", now=opens + fifteen_days).closed) == 1


def test_bad_rows_that_the_answer_repeats_count_once() -> None:
    bad = [row(OPEN - index * MINUTE, 10.0, 9.0, 12.0, 11.0, 1.0) for index in (1, 4, 7)]
    good = [row(OPEN - index * MINUTE) for index in (2, 3, 5, 6)]
    page = read([bad[0], *bad, *good, bad[2]])
    assert len(page.closed) == 4, "three of seven candles are bad, in five of nine rows"


@pytest.mark.parametrize("timeframe", ["1s", "1m", "1h", "1w", "1M"])
@pytest.mark.parametrize("opens", [-1, END_OF_MILLISECONDS, 253_402_300_800_000, (1 << 53) - 1, 1 << 70])
def test_a_row_at_a_time_that_no_event_can_carry_is_rejected_alone(opens: int, timeframe: str) -> None:
    first = floor_open(timeframe, ms("2026-01-05"))
    good = [row(shift(timeframe, first, number)) for number in range(4)]
    page = read([*good, row(opens)], timeframe, now=ms("2027-01-01"))
    assert [candle.open_ms for candle in page.closed] == [each[0] for each in good]
    [rejected] = map(rejected_row, page.rejected)
    assert rejected.reason == "it has no open time"


def test_a_row_whose_close_is_the_first_instant_does_not_open_before_it() -> None:
    rows = [[0, 1.0, 1.0, 1.0, 1.0, 1.0], row(OPEN), row(OPEN + MINUTE)]
    page = read_as(ExchangeTraits(labels_close=True), rows)
    [rejected] = map(rejected_row, page.rejected)
    assert rejected.open_time >= FIRST_INSTANT
    assert [candle.open_ms for candle in page.closed] == [OPEN - MINUTE]
