"""The arithmetic of the ledger, compared with a computation instant by instant."""

import itertools
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candle_writer.ledger import AbsentSpan, Check, claims_of, remaining_absences
from contracts.coverage import Absence, AbsenceClass, Span, to_instant
from contracts.spans import Interval, union
from contracts.timeframes import close_of, floor_open, shift
from support.depth import tries
from support.fetches import MINUTE_MS, NOON, NOON_MS, a_candle, a_fetch

END = 24
"""The instants of the examples are 0 to 23."""

intervals = st.tuples(st.integers(0, END - 1), st.integers(1, 9)).map(lambda pair: (pair[0], min(END, sum(pair))))
checks = st.builds(
    lambda second, rank, evidence, run, *rest: Check(
        NOON + timedelta(seconds=second), rank, evidence, UUID(int=run), *rest
    ),
    st.integers(0, 3),
    st.integers(0, len(AbsenceClass) - 1),
    st.sampled_from(["deadline", "empty"]),
    st.integers(0, 2),
    st.integers(0, 7),
    st.sampled_from(["", "[1]"]),
    st.integers(0, 1),
)
absences = st.builds(lambda span, check: AbsentSpan(span[0], span[1], check, check.at), intervals, checks)


FINAL = {"no_trade", "outage", "before_listing", "delisted", "lost_at_source", "beyond_horizon"}


def counting(checks: list[Check]) -> Check:
    """A final class with evidence counts before all others, by its level; then the latest check. Without evidence,
    unread and unknown count as a day older.
    """
    proved = [each for each in checks if each.absence_class.value in FINAL and each.level > 0]
    highest = max((each.level for each in proved), default=0)
    if proved:
        return max(each for each in proved if each.level == highest)
    says_little = {each: each.absence_class.value in {"unread", "unknown"} and each.level == 0 for each in checks}
    return max(checks, key=lambda each: (each.at - timedelta(days=says_little[each]), each))


def instant_by_instant(absent: Iterable[AbsentSpan], verified: Iterable[Interval]) -> dict[int, tuple[Check, datetime]]:
    """The check that counts and the first one, for each instant that is absent."""
    found = {}
    absent, verified = list(absent), list(verified)
    for instant in range(END):
        covering = [each for each in absent if each.start <= instant < each.end]
        if covering and not any(start <= instant < end for start, end in verified):
            found[instant] = (counting([each.check for each in covering]), min(each.first_seen for each in covering))
    return found


@pytest.mark.deep
@settings(max_examples=tries(200, deep=5_000))
@given(st.lists(absences, max_size=8), st.lists(intervals, max_size=4))
def test_remaining_absences_equal_a_computation_instant_by_instant(
    absent: list[AbsentSpan], verified: list[Interval]
) -> None:
    expected = instant_by_instant(absent, verified)
    result = remaining_absences(absent, verified)
    assert instant_by_instant(result, ()) == expected
    assert sum(each.end - each.start for each in result) == len(expected)
    for one, two in itertools.pairwise(result):
        assert one.end < two.start or (one.end == two.start and one[2:] != two[2:])
    # Any order, any repetition and any division into batches give the same absences.
    some, others = absent[::2], absent[1::2]
    first = remaining_absences(others, verified[1:])
    assert remaining_absences([*first, *reversed(some), *others], verified[::-1]) == result
    assert remaining_absences(result, verified) == result


def test_time_without_length_is_no_absence() -> None:
    check = Check(NOON, 0, "deadline", UUID(int=1))
    assert remaining_absences([AbsentSpan(5, 5, check, NOON)], ()) == []


def test_of_two_classes_from_the_same_moment_the_more_precise_one_counts() -> None:
    span = {"start": NOON, "end": NOON + timedelta(minutes=1), "evidence": "answer"}
    both = tuple(Absence(**span, absence_class=each) for each in (AbsenceClass.REJECTED, AbsenceClass.UNREAD))
    claims = claims_of("1m", [], [a_fetch(absences=both)])
    (left,) = remaining_absences(claims.absences, ())
    assert left.check.absence_class is AbsenceClass.REJECTED


def test_the_answers_behind_an_unknown_absence_stay_for_a_day_of_readings_in_vain() -> None:
    def after(hours: float, kind: AbsenceClass, level: int) -> Check:
        rank, at = list(AbsenceClass).index(kind), NOON + timedelta(hours=hours)
        return Check(at, rank, "words", UUID(int=0), level)

    evidence = after(0, AbsenceClass.UNKNOWN, 1)
    for later, counts in (
        (after(23, AbsenceClass.UNKNOWN, 0), evidence),
        (after(23, AbsenceClass.UNREAD, 0), evidence),
        (after(25, AbsenceClass.UNKNOWN, 0), None),
        (after(1, AbsenceClass.UNKNOWN, 1), None),
        (after(1, AbsenceClass.REJECTED, 0), None),
        (after(1, AbsenceClass.BEYOND_HORIZON, 0), None),
    ):
        [found] = remaining_absences([AbsentSpan(0, 9, each, NOON) for each in (later, evidence)], ())
        assert found.check == (counts or later)


def test_a_proof_is_replaced_by_verified_spans_and_by_later_evidence_of_its_level_only() -> None:
    def after(second: int, kind: AbsenceClass, level: int) -> AbsentSpan:
        at = NOON + timedelta(seconds=second)
        rank = list(AbsenceClass).index(kind)
        return AbsentSpan(0, 5, Check(at, rank, "answer", UUID(int=second), level), at)

    def counts(*absent: AbsentSpan) -> AbsenceClass:
        [left] = remaining_absences(absent, ())
        assert remaining_absences(absent[::-1], ()) == [left]
        return left.check.absence_class

    proved = after(1, AbsenceClass.NO_TRADE, 5)
    assert counts(proved, after(9, AbsenceClass.UNKNOWN, 1), after(8, AbsenceClass.UNREAD, 0)) == "no_trade"
    assert counts(proved, after(9, AbsenceClass.DELISTED, 4)) == "no_trade"
    assert counts(proved, after(9, AbsenceClass.DELISTED, 5)) == "delisted"
    assert (
        counts(proved, after(9, AbsenceClass.LOST_AT_SOURCE, 7), after(0, AbsenceClass.OUTAGE, 6)) == "lost_at_source"
    )
    assert remaining_absences([proved], [(0, 5)]) == []


@pytest.mark.parametrize("timeframe", ["1s", "1m", "4h", "1w", "1M", "3M", "1y"])
@given(opens=st.sets(st.integers(0, 30), min_size=1, max_size=20), vouched=st.lists(intervals, max_size=3))
def test_rows_outside_of_verified_spans_verify_their_own_slots(
    timeframe: str, opens: set[int], vouched: list[Interval]
) -> None:
    first = floor_open(timeframe, NOON_MS)
    times = sorted(shift(timeframe, first, count) for count in opens)
    spans = [(shift(timeframe, first, start), shift(timeframe, first, end)) for start, end in vouched]
    verified = tuple(Span(start=to_instant(start), end=to_instant(end)) for start, end in spans)
    event = a_fetch(verified=verified, fetched_at=to_instant(shift(timeframe, first, 60)))
    slots = [(each, close_of(timeframe, each)) for each in times]
    assert claims_of(timeframe, times, [event]).verified == union([*spans, *slots])


def test_rows_between_the_grid_verify_no_time_between_them() -> None:
    opens = [NOON_MS, NOON_MS + MINUTE_MS // 2, NOON_MS + 2 * MINUTE_MS]
    assert claims_of("1m", opens, [a_fetch(a_candle())]).verified == (
        (NOON_MS, NOON_MS + 3 * MINUTE_MS // 2),
        (NOON_MS + 2 * MINUTE_MS, NOON_MS + 3 * MINUTE_MS),
    )
