"""The progress of a series after any results in any order, compared with a model of its slots."""

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.coverage import MAX_PENDING_SPANS
from contracts.runs import TimeframeResult
from contracts.spans import intersect
from scheduler.progress import (
    UNKNOWN,
    Series,
    for_tick,
    from_events,
    to_event,
)
from support.schedules import HOUR_MS, NOON_MS, a_result
from support.series_progress import MINUTE, after, after_a_range, at

SLOTS = 60
"""The property tests play on the slots 0 to 59 of one-minute candles after noon."""


@dataclass
class Model:
    """Which slots must not be forgotten, slot by slot."""

    first: int | None = None
    newest: int | None = None
    verified: set[int] = field(default_factory=set)

    def result(self, anchor: int | None, verified: set[int]) -> None:
        self.verified |= verified
        if anchor is not None:
            self.verified.add(anchor)
            self.first = anchor if self.first is None else self.first
            self.newest = max(anchor, self.newest or 0)

    def must_be_pending(self) -> set[int]:
        if self.first is None or self.newest is None:
            return set()
        return set(range(self.first, self.newest + 1)) - self.verified


spans = st.lists(st.tuples(st.integers(0, SLOTS - 1), st.integers(1, 20)), max_size=3).map(
    lambda pairs: [(at(start), at(min(start + width, SLOTS))) for start, width in pairs]
)


@st.composite
def results(draw: st.DrawFn) -> TimeframeResult:
    anchor = draw(st.none() | st.integers(0, SLOTS - 1))
    verified = draw(spans) if anchor is not None else []
    return a_result(
        anchor=None if anchor is None else at(anchor),
        verified=intersect(verified, [(at(0), at(SLOTS))]),
        requested=intersect(draw(spans), [(at(0), at(SLOTS))]),
    )


def slots(spans_: list[tuple[int, int]]) -> set[int]:
    found: set[int] = set()
    for start, end in spans_:
        found |= set(range(max(0, -((NOON_MS - start) // MINUTE)), min(SLOTS, -((NOON_MS - end) // MINUTE))))
    return found


def play(model: Model, series: Series, result: TimeframeResult, finished_at: int) -> Series:
    found = after(series, result, finished_at=finished_at)
    anchor = None if result.anchor is None else (int(result.anchor.timestamp() * 1000) - NOON_MS) // MINUTE
    model.result(anchor, slots([span.milliseconds() for span in result.verified]))
    assert found.anchor == (None if model.newest is None else at(model.newest)), "the newest anchor"
    assert len(found.pending) <= MAX_PENDING_SPANS
    assert all(one.end <= other.start for one, other in pairwise(found.pending))
    assert all(each.start < each.end for each in found.pending)
    forgotten = model.must_be_pending() - slots([each.interval for each in found.pending])
    assert not forgotten, "neither verified nor pending"
    return found


@given(history=st.lists(st.tuples(results(), st.integers(0, 50)), max_size=12), data=st.data())
@settings(max_examples=300, deadline=None)
def test_nothing_between_the_first_and_the_newest_anchor_is_forgotten(
    history: list[tuple[TimeframeResult, int]], data: st.DataObject
) -> None:
    model, series = Model(), UNKNOWN
    for result, minute in history:
        series = play(model, series, result, at(minute))
    before = slots([each.interval for each in series.pending])
    if model.newest is None or not history:
        return
    for result, minute in data.draw(st.lists(st.sampled_from(history), max_size=12)):
        series = play(model, series, result, at(minute))
        now_pending = slots([each.interval for each in series.pending])
        after_anchor = set(range(model.newest + 1, SLOTS))
        assert now_pending - before <= after_anchor, "a repeated result brought a span back"


@given(history=st.lists(st.tuples(results(), st.integers(0, 50)), min_size=1, max_size=8), data=st.data())
@settings(max_examples=150, deadline=None)
def test_the_order_of_results_forgets_nothing(history: list[tuple[TimeframeResult, int]], data: st.DataObject) -> None:
    model, series = Model(), UNKNOWN
    for result, minute in data.draw(st.permutations(history)):
        series = play(model, series, result, at(minute))


@given(history=st.lists(st.tuples(results(), st.integers(0, 50)), max_size=8), ranges=st.lists(results(), max_size=4))
@settings(max_examples=150, deadline=None)
def test_a_range_only_removes_pending_time_that_it_verified(
    history: list[tuple[TimeframeResult, int]], ranges: list[TimeframeResult]
) -> None:
    model, series = Model(), UNKNOWN
    for result, minute in history:
        series = play(model, series, result, at(minute))
    for result in ranges:
        before, series = series, after_a_range(series, result)
        verified = slots([span.milliseconds() for span in result.verified])
        was, left = (slots([each.interval for each in each_series.pending]) for each_series in (before, series))
        assert series.anchor == before.anchor
        assert was - verified <= left <= was


@given(history=st.lists(st.tuples(results(), st.integers(0, 50)), max_size=8), now=st.integers(SLOTS, 3 * SLOTS))
@settings(max_examples=150, deadline=None)
def test_a_tick_names_everything_that_is_unread(history: list[tuple[TimeframeResult, int]], now: int) -> None:
    model, series = Model(), UNKNOWN
    for result, minute in history:
        series = play(model, series, result, at(minute))
    found, behind_since = for_tick("1m", series, now=at(now), limit_ms=HOUR_MS)
    unread = model.must_be_pending() | set(range((model.newest or 0) + 1 if model.newest is not None else SLOTS, SLOTS))
    read_on = slots([(found.anchor, at(SLOTS))]) if found.anchor is not None else set()
    assert unread <= slots([each.interval for each in found.pending]) | read_on
    assert (behind_since is None) == (found.anchor is not None or series.anchor is None)


@given(history=st.lists(st.tuples(results(), st.integers(0, 50)), max_size=8))
@settings(max_examples=50, deadline=None)
def test_a_stored_series_is_restored_as_it_was(history: list[tuple[TimeframeResult, int]]) -> None:
    model, series = Model(), UNKNOWN
    for result, minute in history:
        series = play(model, series, result, at(minute))
    assert from_events([to_event("1m", series)]).of("1m") == series
