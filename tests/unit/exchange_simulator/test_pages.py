"""Each field of a page, and the rule that a page never shows a possible row that does not exist."""

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exchange_simulator.aggregate import Candle
from exchange_simulator.bad_rows import Variant, spoil, variant_in_turn
from exchange_simulator.markets import list_markets
from exchange_simulator.pages import Page, RefusedSinceError, combined, offered, show
from exchange_simulator.series import Row, Window, without
from exchange_simulator.synthetic import Caches, SeriesParameters, SyntheticSeries
from exchange_simulator.timeframes import DAY, FRAMES, HOUR, LAST_MS, MINUTE, Frame

M1, H1, D1 = FRAMES["1m"], FRAMES["1h"], FRAMES["1d"]
NOW = 1_760_000_030_000
OPEN = M1.floor(NOW)
KEY = 11
MARKET = list_markets("binance").by_symbol["BTC/USDT"]
SERIES = SyntheticSeries(SeriesParameters(7, MARKET, 0.0, False), Caches())
SPARSE = SyntheticSeries(SeriesParameters(7, MARKET, 0.6, True), Caches())


def as_row(candle: Candle) -> Row:
    return Row(candle.open_ms, *(str(number) for number in candle[1:]))


def a_window(start: int | None = None, *, stop: int = LAST_MS, limit: int = 10, **changes: Any) -> Window:
    """As Binance reads a request: the oldest rows from a start, otherwise the newest."""
    return Window(start or 0, stop, limit, start is None, NOW, start is not None)._replace(**changes)


def opens(window: Window, frame: Frame = M1, series: SyntheticSeries = SERIES, **page: Any) -> list[int]:
    return [row.open_ms for row in show(series, frame, window, Page(**page), KEY, as_row).rows]


def minutes_before_now(first: int, last: int) -> list[int]:
    return [OPEN - number * MINUTE for number in range(first, last - 1, -1)]


SINCE = OPEN - 60 * MINUTE


def test_as_usual_a_reply_has_the_oldest_rows_from_the_start_or_the_newest() -> None:
    assert opens(a_window(SINCE, limit=3)) == minutes_before_now(60, 58)
    assert opens(a_window(limit=3)) == minutes_before_now(2, 0)


def test_gaps_do_not_count_towards_the_limit_in_either_direction() -> None:
    everything = opens(a_window(OPEN - DAY, limit=5_000), series=SPARSE)
    assert 400 < len(everything) < 800
    assert opens(a_window(OPEN - DAY, limit=50), series=SPARSE) == everything[:50]
    assert opens(a_window(limit=50), series=SPARSE) == everything[-50:]


class TestWidth:
    def test_a_page_has_fewer_rows_than_requested(self) -> None:
        assert opens(a_window(SINCE), max_rows=4) == minutes_before_now(60, 57)
        assert opens(a_window(), max_rows=4) == minutes_before_now(3, 0)

    def test_a_narrow_window_ends_although_candles_follow(self) -> None:
        assert opens(a_window(SINCE), window_candles=4) == minutes_before_now(60, 57)
        silent = opens(a_window(SINCE, limit=1_000), hidden=[[SINCE, SINCE + 10 * MINUTE]], window_candles=10)
        assert silent == []

    def test_a_narrow_window_counts_candle_widths_and_not_rows(self) -> None:
        rows = opens(a_window(OPEN - DAY, limit=1_000), series=SPARSE, window_candles=100)
        assert 20 < len(rows) < 70
        assert rows[-1] < OPEN - DAY + 100 * MINUTE


class TestSince:
    def test_an_ignored_since_gives_the_newest_rows(self) -> None:
        assert opens(a_window(SINCE, limit=4), since="ignored") == minutes_before_now(3, 0)
        assert opens(a_window(SINCE, stop=SINCE + MINUTE, limit=4), since="ignored") == minutes_before_now(3, 0)

    def test_an_exclusive_since_skips_its_candle(self) -> None:
        assert opens(a_window(SINCE, limit=2), since="exclusive") == minutes_before_now(59, 58)
        assert opens(a_window(limit=2), since="exclusive") == minutes_before_now(1, 0)

    def test_a_start_before_the_horizon_is_moved_to_it(self) -> None:
        assert opens(a_window(SINCE, limit=3), horizon=20) == minutes_before_now(19, 17)
        assert opens(a_window(OPEN - 5 * MINUTE, limit=3), horizon=20) == minutes_before_now(5, 3)

    def test_a_horizon_counts_rows(self) -> None:
        kept = opens(a_window(1, limit=5_000), series=SPARSE, horizon=100)
        assert len(kept) == 100
        assert kept == opens(a_window(limit=100), series=SPARSE)

    def test_a_start_that_is_too_old_is_refused(self) -> None:
        with pytest.raises(RefusedSinceError):
            opens(a_window(SINCE), oldest_since=SINCE + 1)
        assert opens(a_window(SINCE, limit=1), oldest_since=SINCE) == [SINCE]
        assert opens(a_window(limit=1), oldest_since=SINCE) == [OPEN]

    def test_a_page_can_begin_before_the_start(self) -> None:
        assert opens(a_window(SINCE, limit=2), overlap=2) == minutes_before_now(62, 59)


class TestFiles:
    def test_a_file_has_the_utc_day_of_the_start_whatever_the_limit(self) -> None:
        day = D1.floor(NOW)
        assert opens(a_window(day - 5 * MINUTE, limit=10), files=True) == list(range(day - DAY, day, MINUTE))
        assert opens(a_window(day + HOUR), files=True)[0] == opens(a_window(), files=True)[0] == day
        assert opens(a_window(), files=True)[-1] == OPEN

    def test_long_candles_have_files_per_year(self) -> None:
        days = opens(a_window(NOW - 400 * DAY), D1, files=True)
        assert (len(days), days[0]) == (366, 1_704_067_200_000)

    def test_a_file_can_be_cut(self) -> None:
        assert len(opens(a_window(NOW - 2 * DAY), files=True, max_rows=7)) == 7


class TestTime:
    def test_a_lagging_reply_ends_with_a_candle_that_closed_before(self) -> None:
        assert opens(a_window(OPEN - 6 * MINUTE), lag_minutes=4) == minutes_before_now(6, 5)
        assert opens(a_window(limit=2), lag_minutes=4) == minutes_before_now(6, 5)
        assert opens(a_window(OPEN - 3 * MINUTE), lag_minutes=4) == []

    def test_a_lagging_reply_can_end_with_a_candle_that_was_open(self) -> None:
        page = Page(lag_minutes=4, lag_partial=True)
        row = show(SERIES, M1, a_window(limit=1), page, KEY, as_row).rows[0]
        (final,) = SERIES.candles(M1, row.open_ms, row.open_ms + 1, NOW)
        assert row.open_ms == OPEN - 4 * MINUTE
        assert int(row.volume or 0) < final.volume

    def test_late_candles_appear_after_the_ones_that_follow_them(self) -> None:
        page: dict[str, Any] = {"late_minutes": 30, "late_share": 0.3}
        early = opens(a_window(SINCE, limit=100), **page)
        assert set(minutes_before_now(60, 31)) <= set(early)
        missing = set(minutes_before_now(60, 0)) - set(early)
        assert missing
        assert max(missing) < max(early)
        later = opens(a_window(SINCE, limit=100, now_ms=NOW + 31 * MINUTE), **page)
        assert set(minutes_before_now(60, 0)) <= set(later)
        assert early == opens(a_window(SINCE, limit=100), **page)

    def test_late_candles_do_not_count_towards_the_limit(self) -> None:
        assert len(opens(a_window(limit=20), late_minutes=30, late_share=0.5)) == 20

    def test_hidden_candles_exist_and_are_not_sent(self) -> None:
        hidden = [[SINCE, SINCE + 3 * MINUTE], [LAST_MS - 1, LAST_MS]]
        assert opens(a_window(SINCE - MINUTE, limit=3), hidden=hidden) == [
            OPEN - 61 * MINUTE,
            *minutes_before_now(57, 56),
        ]


class TestRows:
    def shown(self, limit: int = 20, frame: Frame = M1, **page: Any) -> list[Row]:
        return show(SERIES, frame, a_window(SINCE, limit=limit), Page(**page), KEY, as_row).rows

    def test_the_impossible_rows_of_a_page_can_be_named(self) -> None:
        page = Page(impossible=Variant.ZEROS, impossible_at=(SINCE + MINUTE + 5_000,))
        shown = show(SERIES, M1, a_window(SINCE, limit=3), page, KEY, as_row)
        assert shown.impossible == [SINCE + MINUTE]
        assert [row.volume == "0" for row in shown.rows] == [False, True, False]

    def test_the_same_share_of_rows_is_impossible_in_each_reply(self) -> None:
        page = Page(impossible=Variant.OPEN_BELOW_LOW, impossible_share=0.2)
        first = show(SERIES, M1, a_window(SINCE, limit=60), page, KEY, as_row)
        second = show(SERIES, M1, a_window(SINCE + 10 * MINUTE, limit=50), page, KEY, as_row)
        assert 3 < len(first.impossible) < 25
        assert second.impossible == [at for at in first.impossible if at >= SINCE + 10 * MINUTE]
        assert first != show(SERIES, M1, a_window(SINCE, limit=60), page, KEY + 1, as_row)

    def test_every_nth_row_of_each_reply_can_be_impossible(self) -> None:
        rows = self.shown(6, impossible="nulls", impossible_every=5)
        assert [row.open is None for row in rows] == [True, False, False, False, False, True]

    def test_a_label_can_be_the_end_of_the_candle(self) -> None:
        usual, labelled = self.shown(3), self.shown(3, label_end=True)
        assert [row.open_ms for row in labelled] == [row.open_ms for row in usual]
        assert [row[1:] for row in labelled[1:]] == [row[1:] for row in usual[:-1]]
        assert opens(a_window(limit=1), label_end=True) == [OPEN + MINUTE]

    def test_rows_can_have_another_order(self) -> None:
        usual = self.shown()
        assert self.shown(order="reversed") == usual[::-1]
        shuffled = self.shown(order="shuffled")
        assert shuffled not in (usual, usual[::-1])
        assert sorted(shuffled) == usual
        assert shuffled == self.shown(order="shuffled")

    def test_newest_first_is_the_usual_order_of_some_exchanges(self) -> None:
        window = a_window(SINCE, limit=3, newest_first=True)
        assert opens(window) == minutes_before_now(60, 58)[::-1]
        assert opens(window, order="reversed") == minutes_before_now(60, 58)

    def test_the_newest_rows_of_a_window_can_be_cut_out(self) -> None:
        assert opens(a_window(SINCE, limit=3), newest_rows=True) == minutes_before_now(2, 0)

    def test_the_rows_at_the_borders_can_be_repeated(self) -> None:
        assert opens(a_window(SINCE, limit=2), repeat_borders=True) == [SINCE, SINCE, SINCE + MINUTE, SINCE + MINUTE]
        assert opens(a_window(NOW + HOUR), repeat_borders=True) == []

    def test_the_rows_can_have_another_timeframe(self) -> None:
        first = FRAMES["5m"].ceil(SINCE)
        assert [row.open_ms for row in self.shown(2, H1, rows_of="5m")] == [first, first + 5 * MINUTE]


ROW = Row(0, "10.5", "12.0", "9.25", "11.0", "1.50")


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (Variant.NULLS, [Row(0, None, None, None, None, None)]),
        (Variant.NAN, [Row(0, "NaN", "NaN", "NaN", "NaN", "1.50")]),
        (Variant.HIGH_BELOW_LOW, [ROW._replace(high="9.25", low="12.0")]),
        (Variant.UNALIGNED, [ROW._replace(open_ms=17_000)]),
        (Variant.DUPLICATE, [ROW, ROW]),
        (Variant.OPEN_BELOW_LOW, [ROW._replace(open="9.24")]),
        (Variant.ZEROS, [Row(0, "0", "0", "0", "0", "0")]),
        (Variant.NEGATIVE_VOLUME, [ROW._replace(volume="-1.50")]),
        (Variant.DISAGREEING, [ROW, ROW._replace(volume="1.51")]),
    ],
)
def test_each_variant_has_its_kind_of_error(variant: Variant, expected: list[Row]) -> None:
    assert spoil(ROW, variant) == expected


def test_flat_and_silent_rows_become_impossible_too() -> None:
    flat = Row(0, "5", "5", "5", "5", "0")
    (row,) = spoil(flat, Variant.HIGH_BELOW_LOW)
    assert float(row.high or "nan") < float(row.low or "nan")
    assert spoil(flat, Variant.NEGATIVE_VOLUME) == [flat._replace(volume="-1")]


def test_mixed_means_each_variant_in_turn() -> None:
    count = len(Variant) - 1
    assert {variant_in_turn(Variant.MIXED, turn) for turn in range(count)} == set(Variant) - {Variant.MIXED}
    assert variant_in_turn(Variant.NAN, 3) is Variant.NAN


def test_later_pages_win_where_they_differ_from_the_usual() -> None:
    assert combined([Page(max_rows=5, lag_minutes=1), Page(max_rows=7)]) == Page(max_rows=7, lag_minutes=1)
    assert combined([]) == Page()


@given(st.tuples(st.integers(0, 50), st.integers(0, 50)), st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9))))
def test_without_removes_exactly_the_gaps(span: tuple[int, int], gaps: list[tuple[int, int]]) -> None:
    ranges = tuple((start, start + length) for start, length in gaps)
    parts = without(span, ranges)
    left = set(range(*span)) - {at for gap in ranges for at in range(*gap)}
    assert {at for part in parts for at in range(*part)} == left
    assert parts == sorted(parts)
    assert all(start < end for start, end in parts)


WEATHER = st.fixed_dictionaries(
    {},
    optional={
        "max_rows": st.integers(2, 12),
        "window_candles": st.integers(2, 30),
        "since": st.sampled_from(["honoured", "exclusive"]),
        "horizon": st.integers(1, 90),
        "files": st.booleans(),
        "overlap": st.integers(0, 3),
        "lag_minutes": st.integers(0, 9),
        "late_minutes": st.integers(0, 20),
        "late_share": st.sampled_from([0.2, 0.7]),
        "hidden": st.just(((OPEN - 70 * MINUTE, OPEN - 40 * MINUTE),)),
        "repeat_borders": st.booleans(),
        "order": st.sampled_from(["usual", "reversed", "shuffled"]),
    },
)


@settings(max_examples=80, deadline=None)
@given(WEATHER, st.sampled_from([SERIES, SPARSE]))
def test_requests_from_every_minute_find_exactly_the_offered_candles(
    weather: dict[str, Any], series: SyntheticSeries
) -> None:
    page = Page(**weather)
    assume(not page.files or page.max_rows is None)
    start = OPEN - 100 * MINUTE
    found: dict[int, Row] = {}
    for at in range(start - 3 * MINUTE, OPEN, MINUTE):
        found |= {row.open_ms: row for row in show(series, M1, a_window(at), page, KEY, as_row).rows}
    expected = offered(series, M1, (start, OPEN), NOW, page, KEY)
    assert {at: row for at, row in found.items() if start <= at < OPEN} == {c.open_ms: as_row(c) for c in expected}


ANYTHING = st.builds(
    lambda base, more: base | more,
    WEATHER,
    st.fixed_dictionaries(
        {"impossible_share": st.just(0.3)},
        optional={
            "since": st.sampled_from(["honoured", "exclusive", "ignored"]),
            "newest_rows": st.booleans(),
            "lag_partial": st.booleans(),
            "label_end": st.booleans(),
            "rows_of": st.sampled_from([None, "5m"]),
            "impossible": st.sampled_from([None, *Variant]),
        },
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    ANYTHING, st.integers(OPEN - 2 * DAY, NOW + DAY), st.integers(1, 1_000), st.sampled_from(["1m", "1h", "1d", "1M"])
)
def test_all_fields_can_be_combined_and_replies_are_the_same_each_time(
    weather: dict[str, Any], start: int, limit: int, name: str
) -> None:
    window, page = a_window(start, limit=limit), Page(**weather)
    shown = show(SPARSE, FRAMES[name], window, page, KEY, as_row)
    assert shown == show(SPARSE, FRAMES[name], window, page, KEY, as_row)
    most = limit if page.max_rows is None else page.max_rows
    if not page.files:
        assert len(shown.rows) <= 2 * (most + page.overlap) + 2
