import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.runs.hourly_counts import Count, average_duration, errors_by_class, round_up
from admin_api.runs.percentiles import from_buckets

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GROWTH = 1.02
HALF_A_MICROSECOND = 5.1e-7
"""In seconds. Percentiles are rounded to microseconds."""


def bucket_of(microseconds: int) -> int:
    """Computed in the same way as the database triggers do it."""
    return 1 + math.floor(math.log(microseconds) / math.log(GROWTH)) if microseconds else 0


@pytest.mark.parametrize(
    ("instant", "hour", "day"),
    [
        ("2026-11-22T12:00:00", "2026-11-22T12:00:00", "2026-11-23T00:00:00"),
        ("2026-11-22T12:00:00.000001", "2026-11-22T13:00:00", "2026-11-23T00:00:00"),
        ("2026-11-22T23:59:59.999999", "2026-11-23T00:00:00", "2026-11-23T00:00:00"),
        ("2026-11-22T00:00:00", "2026-11-22T00:00:00", "2026-11-22T00:00:00"),
        ("1969-12-31T22:30:00", "1969-12-31T23:00:00", "1970-01-01T00:00:00"),
    ],
)
def test_an_instant_is_rounded_up_to_the_next_whole_hour_and_day(instant: str, hour: str, day: str) -> None:
    at = datetime.fromisoformat(instant).replace(tzinfo=UTC)
    assert round_up(at, HOUR) == datetime.fromisoformat(hour).replace(tzinfo=UTC)
    assert round_up(at, DAY) == datetime.fromisoformat(day).replace(tzinfo=UTC)


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=200))
def test_percentiles_from_buckets_are_within_one_percent_of_the_run_at_that_rank(microseconds: list[int]) -> None:
    runs: dict[int, int] = {}
    for each in microseconds:
        runs[bucket_of(each)] = runs.get(bucket_of(each), 0) + 1
    ordered = sorted(microseconds)
    for share, estimate in zip((0.5, 0.95), from_buckets(runs), strict=True):
        exact = ordered[math.ceil(share * len(ordered)) - 1] / 1e6
        assert estimate is not None
        assert abs(estimate - exact) <= 0.01 * exact + HALF_A_MICROSECOND


def test_without_runs_there_are_no_percentiles() -> None:
    assert from_buckets({}) == (None, None)
    assert from_buckets({7: 0}) == (None, None)


def test_the_average_covers_runs_with_an_outcome_and_a_duration() -> None:
    counts = [
        Count("success", "", None, runs=3, timed_runs=2, duration_microseconds=4_001_000, records=0),
        Count("failed", "timeout", 7, runs=1, timed_runs=1, duration_microseconds=1_000_000, records=0),
        Count("skipped", "", 7, runs=9, timed_runs=9, duration_microseconds=99_000_000, records=0),
        Count("running", "", None, runs=9, timed_runs=0, duration_microseconds=0, records=0),
    ]
    assert average_duration(counts) == 1.667
    assert average_duration(counts[3:]) is None


def test_only_errors_of_failed_runs_are_counted_and_the_most_frequent_comes_first() -> None:
    def failed(error_class: str, runs: int) -> Count:
        return Count("failed", error_class, runs, runs, timed_runs=0, duration_microseconds=0, records=0)

    skipped = Count("skipped", "already_running", None, 9, timed_runs=0, duration_microseconds=0, records=0)
    counts = [
        failed("network", 1),
        failed("timeout", 3),
        failed("timeout", 2),
        failed("banned", 1),
        failed("", 4),
        failed("old", 0),
        skipped,
    ]
    assert list(errors_by_class(counts).items()) == [("timeout", 5), ("banned", 1), ("network", 1)]
