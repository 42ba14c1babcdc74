"""The reading of a span of history from exchanges of every kind. The truth of the exchange is the model."""

from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.candles.page_requests import PageRequest, ReadingLimits
from collector.candles.pages import UnusableAnswer, read_page
from collector.candles.range_reading import RangeReader
from collector.exchange.traits import ExchangeTraits
from contracts.coverage import AbsenceClass, PendingSpan, SeriesProgress, to_instant
from contracts.spans import Interval, intersect, subtract, union
from support.coverage_model.odd_exchange import (
    GOOD_WEATHER,
    Behaviour,
    Kind,
    OddExchange,
    Order,
    RequestFailed,
    Weather,
)
from support.coverage_model.truth import BadKind, Trading, truth_of

MINUTE = 60_000
START = 1_767_139_200_000
"""2025-12-31 00:00 UTC: the first candle."""
NOW = START + 600 * MINUTE + MINUTE // 2
PAGE = 20
WELL_BEHAVED, ALWAYS = Behaviour(width=PAGE), Trading()


def at(minutes: int) -> int:
    return START + minutes * MINUTE


@dataclass
class Reading:
    """One run of a range, and what it has found."""

    behaviour: Behaviour = WELL_BEHAVED
    trading: Trading = ALWAYS
    weather: Weather = GOOD_WEATHER
    span: tuple[int, int] = (100, 300)
    attempts: int = 0
    max_pages: int = 60
    traits: ExchangeTraits = field(default_factory=ExchangeTraits)
    knows_until: bool = False
    seconds_per_request: float = 0
    requests: list[PageRequest] = field(default_factory=list)
    stored: set[int] = field(default_factory=set)
    """The open times of the candles that the run would publish."""

    def __post_init__(self) -> None:
        self.exchange = OddExchange(self.behaviour, {"1m": truth_of("1m", START, NOW + MINUTE, self.trading)})
        span = PendingSpan(start=to_instant(self.interval[0]), end=to_instant(self.interval[1]), attempts=self.attempts)
        self.reader = RangeReader(
            self.traits,
            SeriesProgress(timeframe="1m", pending=(span,)),
            PAGE,
            NOW,
            limits=ReadingLimits(max_pages=self.max_pages),
            honours_until=self.knows_until,
        )
        failures = 0
        now = NOW
        while failures < 4 and (request := self.reader.next_request(now)) is not None:
            self.requests.append(request)
            now += int(1000 * self.seconds_per_request)
            try:
                rows: list[Any] = self.exchange.answer(
                    "1m", request.since, request.limit, request.until, now, self.weather
                )
                page = read_page(self.traits, self.reader.calendar, rows, since=request.since, now=now)
            except (RequestFailed, UnusableAnswer):
                failures += 1
                continue
            failures = 0
            self.stored |= {candle.open_ms for candle in page.closed}
            self.reader.receive(page, now)

    @property
    def interval(self) -> Interval:
        return at(self.span[0]), at(self.span[1])

    def classes(self) -> dict[AbsenceClass, int]:
        """The minutes of each class."""
        found: dict[AbsenceClass, int] = {}
        for (start, end), absence_class, _ in self.reader.absences():
            found[absence_class] = found.get(absence_class, 0) + (end - start) // MINUTE
        return found


BEHAVIOURS = st.builds(
    Behaviour,
    kind=st.sampled_from(Kind),
    width=st.integers(1, PAGE),
    honours_until=st.booleans(),
    excludes_since=st.booleans(),
    horizon=st.none() | st.integers(1, 700),
    horizon_by_time=st.booleans(),
    clips_since=st.booleans(),
    sends_open_candle=st.booleans(),
    order=st.sampled_from(Order),
    repeats_rows=st.booleans(),
)
TRADINGS = st.builds(
    Trading,
    pattern=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 80)), min_size=1, max_size=3).map(tuple),
    listed=st.integers(0, 400),
    delisted=st.none() | st.integers(0, 600),
    bad_every=st.sampled_from([0, 0, 5, 30]),
    bad=st.sampled_from(BadKind),
)
WEATHERS = st.builds(
    Weather,
    empty=st.lists(st.booleans(), max_size=4).map(tuple),
    failing=st.lists(st.booleans(), max_size=4).map(tuple),
    ignores_since=st.booleans(),
)
SPANS = st.tuples(st.integers(0, 620), st.integers(1, 300)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(BEHAVIOURS, TRADINGS, WEATHERS, SPANS, st.integers(0, 6), st.integers(1, 60), st.booleans())
@settings(max_examples=400, deadline=None)
def test_each_instant_of_a_range_is_verified_with_its_candles_or_has_a_reason(
    behaviour: Behaviour,
    trading: Trading,
    weather: Weather,
    span: tuple[int, int],
    attempts: int,
    max_pages: int,
    known: bool,
) -> None:
    traits = ExchangeTraits(
        history_candles=behaviour.horizon if known else None, history_by_time=known and behaviour.horizon_by_time
    )
    reading = Reading(
        behaviour, trading, weather, span, attempts, max_pages, traits, knows_until=behaviour.honours_until
    )
    reader, (start, end) = reading.reader, reading.interval
    closed = [(start, min(end, NOW // MINUTE * MINUTE))]
    absent = [absence for absence, _, _ in reader.absences()]
    assert subtract(closed, [*reader.verified, *absent]) == (), "neither verified nor absent"
    assert intersect(absent, reader.verified) == ()
    assert subtract(absent, closed) == (), "an absence outside of the span"
    truth = reading.exchange.series["1m"]
    missing = [
        each
        for verified in reader.verified
        for each in truth.between(*verified)
        if each not in reading.stored and not truth.is_bad(each, NOW)
    ]
    assert missing == [], "verified without its candle"
    assert reader.anchor is None
    assert reader.pages <= max_pages
    for request in reading.requests:
        assert start - 3 * MINUTE <= request.since < end, "a request outside of the span"
    lost = sum((min(b, end) - max(a, start)) // MINUTE for a, b in reader.lost)
    assert lost == reading.classes().get(AbsenceClass.BEYOND_HORIZON, 0)


@pytest.mark.parametrize(
    ("kind", "honours_until"),
    [(Kind.FIRST, False), (Kind.FIRST, True), (Kind.WINDOW, False), (Kind.WINDOW, True), (Kind.NEWEST_FIRST, True)],
)
@pytest.mark.parametrize("span", [(100, 101), (100, 300), (577, 590)])
@pytest.mark.parametrize("silent", [0, 7])
def test_a_range_of_a_reliable_exchange_needs_few_requests(
    kind: Kind, span: tuple[int, int], silent: int, *, honours_until: bool
) -> None:
    """Silence inside of a page is proved by the rows around it, also if it crosses the end of the span or of a page."""
    behaviour = Behaviour(kind=kind, width=PAGE, honours_until=honours_until)
    trading = Trading(pattern=((23, silent),))
    reading = Reading(behaviour, trading, span=span, knows_until=honours_until)
    assert subtract([reading.interval], reading.reader.verified) == ()
    least = ceil((span[1] - span[0]) / (PAGE - 2 * honours_until))
    extra = 0 if silent == 0 else least
    assert len(reading.requests) <= least + 1 + extra


@pytest.mark.parametrize("width", [3, 7, 19])
def test_pages_that_are_narrower_than_requested_are_read_in_smaller_steps_within_the_same_run(width: int) -> None:
    for kind in (Kind.FIRST, Kind.WINDOW, Kind.NEWEST_FIRST):
        reading = Reading(Behaviour(kind=kind, width=width, honours_until=True), max_pages=300, knows_until=True)
        assert subtract([reading.interval], reading.reader.verified) == (), kind


@pytest.mark.parametrize(
    ("kind", "width", "pattern", "most"),
    [
        (Kind.FIRST, 12, (1, 0), 20),
        (Kind.FIRST, 12, (23, 7), 16),
        (Kind.FIRST, 7, (23, 7), 60),
        (Kind.WINDOW, 20, (40, 18), 40),
    ],
)
def test_narrow_pages_with_silence_between_them_are_verified_with_few_requests(
    kind: Kind, width: int, pattern: tuple[int, int], most: int
) -> None:
    """The silence is as long as a page, or crosses the border of pages. The page claims 20 candles."""
    behaviour = Behaviour(kind=kind, width=width, honours_until=True)
    reading = Reading(behaviour, Trading(pattern=(pattern,)), knows_until=True)
    assert subtract([reading.interval], reading.reader.verified) == ()
    assert len(reading.requests) <= most


def test_pages_that_are_empty_by_mistake_are_requested_again_within_the_same_run() -> None:
    reading = Reading(weather=Weather(empty=(True, False, False)))
    assert subtract([reading.interval], reading.reader.verified) == ()


def test_a_span_without_answers_is_read_whole_once_and_stays_unproven() -> None:
    reading = Reading(weather=Weather(empty=(True,)))
    assert reading.classes() == {AbsenceClass.UNKNOWN: 200}
    assert len(reading.requests) <= 200 // PAGE + 2


def test_a_span_before_the_listing_is_unproven_and_its_later_part_is_verified() -> None:
    reading = Reading(trading=Trading(listed=250))
    assert intersect([reading.interval], reading.reader.verified) == ((at(250), at(300)),)
    assert reading.classes() == {AbsenceClass.UNKNOWN: 150}


def test_a_span_before_the_horizon_is_lost_and_a_documented_horizon_needs_no_request() -> None:
    behaviour = Behaviour(width=PAGE, horizon=100, horizon_by_time=True)
    reading = Reading(behaviour, traits=ExchangeTraits(history_candles=100, history_by_time=True))
    assert reading.classes() == {AbsenceClass.BEYOND_HORIZON: 200}
    assert reading.requests == []


@pytest.mark.parametrize("span", [(100, 300), (575, 590), (582, 590)])
def test_an_exchange_that_sends_all_that_it_keeps_is_requested_once_to_prove_a_loss(span: tuple[int, int]) -> None:
    """Its oldest candle, that of minute 582, begins the answer. The span lies before it, around it, or after it."""
    behaviour = Behaviour(width=PAGE, horizon=PAGE - 1, clips_since=True)
    reading = Reading(behaviour, span=span, traits=ExchangeTraits(history_candles=PAGE - 1))
    assert len(reading.requests) == 1
    lost = max(0, min(span[1], 582) - span[0])
    assert reading.classes() == ({AbsenceClass.BEYOND_HORIZON: lost} if lost else {})


@pytest.mark.parametrize("span", [(560, 600), (560, 591), (560, 590)])
def test_young_silence_needs_few_requests_because_only_a_later_run_can_verify_it(span: tuple[int, int]) -> None:
    """Minutes 587 to 594 are silent. Silence is young from minute 590 and a half on. Each answer takes a second."""
    reading = Reading(trading=Trading(pattern=((587, 8),)), span=span, seconds_per_request=1)
    assert subtract([(at(560), at(587))], reading.reader.verified) == ()
    assert len(reading.requests) <= 40 // PAGE + 4


def test_the_budget_of_pages_leaves_the_oldest_part_unread_and_the_next_attempt_fits() -> None:
    reading = Reading(max_pages=4)
    assert subtract([reading.interval], reading.reader.verified) == ((at(100), at(220)),)
    assert reading.classes() == {AbsenceClass.UNREAD: 120}
    for attempts in range(10):
        reading = Reading(max_pages=20, attempts=attempts)
        assert subtract([reading.interval], reading.reader.verified) == (), attempts


def test_a_rejected_row_is_repeated_once_and_the_rest_is_verified() -> None:
    reading = Reading(trading=Trading(bad_every=150))
    assert len(reading.reader.rejected) == 1
    assert reading.classes() == {AbsenceClass.REJECTED: 1}
    assert len(reading.requests) <= 200 // PAGE + 3


def test_time_that_is_not_over_is_not_requested() -> None:
    reading = Reading(span=(590, 700))
    verified = intersect([reading.interval], reading.reader.verified)
    assert verified == ((at(590), at(600)),)
    assert reading.classes() == {}
    future = replace(reading, span=(650, 700), requests=[], stored=set())
    assert (future.requests, future.reader.absences(), union(future.reader.verified)) == ([], [], ())
