"""The progress of one series: the time that is unread after any results, and the contents of a tick."""

import pytest

from contracts.bounds import END_OF_MILLISECONDS
from contracts.coverage import MAX_PENDING_SPANS, span_of
from contracts.timeframes import DAY_MS, floor_open, shift
from scheduler.progress import (
    NO_PROGRESS,
    UNKNOWN,
    Pending,
    Series,
    bounded,
    for_tick,
    must_be_stored,
    progress_of,
    shared,
)
from support.schedules import HOUR_MS, NOON_MS, a_result
from support.series_progress import INTERVAL, MINUTE, NOW, after, after_a_range, at

# ---- the anchor ----


def test_the_first_result_sets_the_anchor() -> None:
    assert after(UNKNOWN, a_result(anchor=at(5), verified=[(at(0), at(6))])) == Series(at(5))


def test_time_that_the_anchor_passes_without_evidence_becomes_pending() -> None:
    result = a_result(anchor=at(60), verified=[(at(50), at(61))])
    assert after(Series(at(0)), result) == Series(at(60), (Pending(at(0), at(50)),)), "with the old anchor's candle"


def test_candles_after_the_anchor_of_a_late_result_may_be_unfinished_and_stay_pending() -> None:
    series = Series(at(60), (Pending(at(1), at(50)),))
    late = a_result(anchor=at(10), verified=[(at(1), at(14))])
    assert after(series, late).pending == (Pending(at(10), at(50)),)


def test_spans_that_were_never_read_are_not_merged_with_spans_without_a_result() -> None:
    tried = [Pending(at(2 * index + 1), at(2 * index + 2), 1, NOW) for index in range(MAX_PENDING_SPANS)]
    spans = bounded([Pending(at(-1000), at(0)), *tried])
    assert spans[0] == Pending(at(-1000), at(0)), "runs would read its end again and again"
    assert len(spans) == MAX_PENDING_SPANS


def test_bounded_spans_are_bounded_for_good() -> None:
    """Otherwise a series would change when it is stored and restored."""
    spans = [Pending(at(4 * index), at(4 * index + 2), 1, NOW) for index in range(MAX_PENDING_SPANS)]
    once = bounded([*spans, Pending(at(2), at(4), 1)])
    assert bounded(once) == once


def test_merged_spans_without_a_result_keep_the_larger_number_of_attempts() -> None:
    spans = [Pending(at(2 * index), at(2 * index + 1), index % 2 + 1, NOW) for index in range(2 * MAX_PENDING_SPANS)]
    assert bounded(spans)[0].attempts == 2, "the step of the requests halves with each attempt"


def test_a_merge_keeps_the_earlier_retry_so_that_new_holes_do_not_put_off_the_older_ones() -> None:
    holes = [Pending(at(3 * number), at(3 * number + 1), 1, at(100 + number)) for number in range(40)]
    found = bounded(holes)
    assert found[0].retry_at == at(100)
    for hole in holes:
        [merged] = [each for each in found if each.start <= hole.start and hole.end <= each.end]
        assert merged.retry_at is not None
        assert hole.retry_at is not None
        assert merged.retry_at <= hole.retry_at


def test_silence_inside_a_page_is_not_pending() -> None:
    assert after(Series(at(0)), a_result(anchor=at(60), verified=[(at(0), at(61))])) == Series(at(60))


def test_a_late_or_repeated_result_changes_nothing() -> None:
    first = a_result(anchor=at(5), verified=[(at(0), at(6))], requested=[(at(-9), at(0))])
    second = a_result(anchor=at(20), verified=[(at(5), at(21)), (at(-9), at(0))])
    series = after(UNKNOWN, first, second)
    assert series == Series(at(20))
    assert after(series, first, second, first) == series


def test_a_verified_span_of_a_late_result_is_no_longer_pending() -> None:
    series = Series(at(60), (Pending(at(1), at(50)),))
    assert after(series, a_result(anchor=at(30), verified=[(at(10), at(31))])).pending == (
        Pending(at(1), at(10)),
        Pending(at(30), at(50)),
    )


def test_an_anchor_in_the_future_counts_as_now_and_hides_nothing() -> None:
    ahead = a_result(anchor=NOW + DAY_MS, verified=[(NOW + DAY_MS - HOUR_MS, NOW + DAY_MS + MINUTE)])
    assert after(Series(at(0)), ahead) == Series(NOW, (Pending(at(0), NOW),))
    assert after(UNKNOWN, ahead) == Series(NOW), "all time from the anchor on is read again"


def test_an_anchor_at_the_end_of_the_calendar_is_no_error() -> None:
    far = END_OF_MILLISECONDS - 1000
    assert after(Series(at(0)), a_result("1y", anchor=far)).anchor <= NOW
    assert after(Series(at(0)), a_result("1m", requested=[(at(1), far)])).pending[0].end == NOW


# ---- attempts ----


def test_a_requested_span_without_evidence_waits_longer_after_each_attempt() -> None:
    series, finished_at, waits = Series(at(-10), (Pending(at(-60), at(-30)),)), NOON_MS, []
    for _ in range(10):
        result = a_result(anchor=at(-10), requested=[(at(-60), at(-30))])
        series = after(series, result, finished_at=finished_at, now=finished_at)
        waits.append((series.pending[0].retry_at - finished_at) // INTERVAL)
        finished_at = series.pending[0].retry_at
    assert waits == [2, 4, 8, 16, 32, 64, 128, 144, 144, 144], "at most one day"
    assert series.pending[0].attempts == 10


def test_a_run_that_ended_in_the_future_of_a_wrong_clock_waits_from_now() -> None:
    series = Series(at(60), (Pending(at(0), at(30)),))
    asked = a_result(anchor=at(60), requested=[(at(0), at(30))])
    assert after(series, asked, finished_at=NOW + DAY_MS).pending[0].retry_at == NOW + 2 * INTERVAL


def test_only_the_requested_part_of_a_span_waits() -> None:
    series = after(Series(at(60), (Pending(at(0), at(50), 1),)), a_result(anchor=at(60), requested=[(at(40), at(50))]))
    assert series.pending == (Pending(at(0), at(40), 1), Pending(at(40), at(50), 2, NOON_MS + 4 * INTERVAL))


def test_the_rest_of_a_partly_verified_span_keeps_its_attempts() -> None:
    series = after(
        Series(at(60), (Pending(at(0), at(50), 3, NOW),)), a_result(anchor=at(60), verified=[(at(10), at(20))])
    )
    assert series.pending == (Pending(at(0), at(10), 3, NOW), Pending(at(20), at(50), 3, NOW))


def test_a_repeated_result_does_not_count_as_another_attempt() -> None:
    failed = a_result(anchor=at(60), requested=[(at(0), at(30))])
    once = after(Series(at(60), (Pending(at(0), at(30)),)), failed)
    assert after(once, failed) == once


def test_the_first_requests_of_a_series_without_candles_are_pending() -> None:
    series = after(UNKNOWN, a_result(requested=[(at(0), at(30))]))
    assert series == Series(None, (Pending(at(0), at(30), 1, NOON_MS + 2 * INTERVAL),))


def test_a_requested_span_before_the_anchor_that_is_not_pending_stays_verified() -> None:
    assert after(Series(at(60)), a_result(anchor=at(60), requested=[(at(0), at(30))])) == Series(at(60))
    assert after(Series(at(60)), a_result(requested=[(at(0), at(30))])) == Series(at(60))


def test_a_run_that_found_no_candle_after_an_old_anchor_remembers_its_requests() -> None:
    series = after(Series(at(0)), a_result(requested=[(at(-5), at(30))]))
    assert series == Series(at(0), (Pending(at(1), at(30), 1, NOON_MS + 2 * INTERVAL),))
    repeated = a_result(anchor=at(0), requested=[(at(-5), at(30))])
    assert after(Series(at(0)), repeated) == series, "with or without the anchor in the result"
    found = after(series, a_result(anchor=at(20), verified=[(at(15), at(21))]))
    assert [(each.interval, each.attempts) for each in found.pending] == [
        ((at(0), at(1)), 0),
        ((at(1), at(15)), 1),
        ((at(20), at(30)), 1),
    ]


# ---- bounds ----


def test_the_closest_neighbours_become_one_span_with_the_higher_attempts() -> None:
    spans = [Pending(at(10 * number), at(10 * number + 1), 5, NOW) for number in range(MAX_PENDING_SPANS)]
    close = Pending(spans[3].end + MINUTE, spans[3].end + 2 * MINUTE, 2, NOW + 1)
    found = bounded([close, *spans])
    assert len(found) == MAX_PENDING_SPANS
    assert found[3] == Pending(spans[3].start, close.end, 5, NOW)
    assert (*found[:3], *found[4:]) == (*spans[:3], *spans[4:])


def test_a_span_that_no_run_has_read_stays_apart_from_those_without_a_result() -> None:
    tried = [Pending(at(10 * number), at(10 * number + 1), 5, NOW) for number in range(MAX_PENDING_SPANS)]
    unread = Pending(tried[3].end, tried[3].end + MINUTE)
    assert unread in bounded([unread, *tried])


def test_touching_spans_with_equal_attempts_are_one() -> None:
    assert bounded([Pending(2, 3), Pending(1, 2), Pending(3, 4, 1)]) == (Pending(1, 3), Pending(3, 4, 1))


# ---- the contents of a tick ----


def tick(series: Series, now: int = NOW, limit: int = HOUR_MS) -> tuple[Series, int | None]:
    return for_tick("1m", series, now=now, limit_ms=limit)


def test_a_tick_carries_the_anchor_and_all_pending_spans() -> None:
    pending = (Pending(at(0), at(1)), Pending(at(2), at(3), 1, NOW), Pending(at(91), at(99), 1, NOW + 1))
    assert tick(Series(at(90), pending)) == (Series(at(90), pending), None)


def test_a_wait_that_a_wrong_clock_wrote_is_over() -> None:
    pending = (Pending(at(0), at(1), 9, NOW + DAY_MS + 1),)
    assert tick(Series(at(90), pending))[0].pending == (Pending(at(0), at(1), 9, None),)


def test_an_anchor_beyond_the_limit_is_not_in_the_tick_and_the_time_after_it_is_pending() -> None:
    series = Series(at(0), (Pending(at(-9), at(-5)),))
    assert tick(series) == (Series(None, (Pending(at(-9), at(-5)), Pending(at(1), NOW))), at(0))
    assert tick(series, limit=2 * HOUR_MS - 2 * MINUTE) == (Series(at(0), (Pending(at(-9), at(-5)),)), None)


def test_the_time_after_an_old_anchor_that_waits_keeps_its_wait() -> None:
    series = Series(at(0), (Pending(at(1), at(50), 3, NOW + 1), Pending(at(50), at(60), 1, NOW)))
    assert tick(series)[0].pending == (*series.pending, Pending(at(60), NOW))


def test_an_anchor_in_the_future_is_not_in_the_tick_and_the_limit_is_pending() -> None:
    assert tick(Series(NOW + DAY_MS))[0] == Series(None, (Pending(NOW - HOUR_MS + MINUTE, NOW),))


def test_an_anchor_a_few_seconds_ahead_is_in_the_tick() -> None:
    assert tick(Series(NOW), now=NOW - 5000)[0] == Series(NOW)


@pytest.mark.parametrize("timeframe", ["1m", "1h", "1d", "1w", "1M", "1y"])
def test_the_anchor_of_a_regular_run_is_never_beyond_the_limit(timeframe: str) -> None:
    """A weekly config, one failed run: the newest closed candle of two weeks ago."""
    week = 7 * DAY_MS
    for now in range(NOON_MS, NOON_MS + 800 * DAY_MS, 13 * DAY_MS):
        anchor = shift(timeframe, floor_open(timeframe, now - 2 * week), -1)
        assert for_tick(timeframe, Series(anchor), now=now, limit_ms=2 * week).series.anchor == anchor


# ---- storage ----


def test_the_first_anchor_or_request_must_be_stored_at_once_and_later_ones_need_not() -> None:
    pending = (Pending(at(0), at(30), 1, NOW),)
    assert must_be_stored(UNKNOWN, Series(at(5)))
    assert must_be_stored(UNKNOWN, Series(None, pending))
    assert must_be_stored(Series(None, pending), Series(at(5)))
    assert not must_be_stored(Series(None, pending), Series(None, (pending[0]._replace(attempts=2),)))
    assert not must_be_stored(Series(at(0)), Series(at(60), pending))
    assert not must_be_stored(UNKNOWN, UNKNOWN)


def test_progress_without_pending_spans_shares_its_timeframes_and_stores_no_spans() -> None:
    one, other = (progress_of({"1m": Series(number), "1h": Series(number)}) for number in (1, 2))
    assert one.timeframes is other.timeframes
    assert one.pending == ()
    assert shared(("1m", "1h")) is shared(tuple(["1m", "1h"]))  # noqa: C409 -- equal tuples that are not one object


def test_an_update_without_a_change_returns_the_same_progress() -> None:
    progress = progress_of({"1m": Series(1), "1h": UNKNOWN})
    assert progress.updated({"1m": Series(1), "1h": UNKNOWN, "1d": UNKNOWN}) is progress
    assert progress.updated({"1d": Series(2)}).of("1m") == Series(1)
    assert progress_of({"1m": UNKNOWN}) is NO_PROGRESS


# ---- runs of ranges ----


def test_a_range_removes_what_it_verified_or_found_to_be_lost_and_nothing_else_changes() -> None:
    series = Series(at(60), (Pending(at(0), at(20), 2, at(90)), Pending(at(30), at(50))))
    lost = {"lost": (span_of((at(30), at(35))),), "anchor": None}
    result = a_result(verified=[(at(5), at(10))], requested=[(at(0), at(50))], **lost)
    kept = (Pending(at(0), at(5), 2, at(90)), Pending(at(10), at(20), 2, at(90)), Pending(at(35), at(50)))
    assert after_a_range(series, result) == Series(at(60), kept)


def test_the_anchor_and_the_requests_of_a_range_do_not_count() -> None:
    result = a_result(anchor=at(110), verified=[(at(0), at(10))], requested=[(at(-60), at(119))])
    for series in (UNKNOWN, Series(at(60)), Series(at(60), (Pending(at(20), at(30)),))):
        assert after_a_range(series, result) == series


def test_candles_that_a_range_read_before_the_settle_time_are_read_again() -> None:
    series = Series(at(60), (Pending(at(61), at(119)),))
    result = a_result(verified=[(at(61), at(100))])
    assert after_a_range(series, result, at(100)) == Series(at(60), (Pending(at(90), at(119)),))
