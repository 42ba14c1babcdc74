from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.candles.page_requests import EARLIEST_SINCE_MS
from collector.candles.pages import SeriesCalendar
from collector.evidence.listing import MAX_PAGES, ListingAnswers, ListingPlan, plan_listing, reason_not_proved
from collector.exchange.traits import ExchangeTraits

HOUR = 3_600_000
DAY = 24 * HOUR
FIRST = EARLIEST_SINCE_MS + 4000 * DAY + 7 * HOUR
TRAITS = ExchangeTraits()
HOURS, MINUTES, DAYS, WEEKS = (SeriesCalendar.of(TRAITS, each) for each in ("1h", "1m", "1d", "1w"))


def a_plan(first: int = FIRST, page: int = 300) -> ListingPlan:
    plan = plan_listing(first, HOURS, [DAYS, WEEKS], page)
    assert plan is not None
    return plan


PLAN = a_plan()
PROVED = ListingAnswers(
    after=[FIRST, FIRST + HOUR],
    own=[],
    own_coarse=[FIRST - 7 * HOUR],
    other=[FIRST - HOUR],
    other_coarse=[FIRST - 7 * HOUR - DAY],
)


def test_the_stretch_has_a_page_and_the_history_begins_in_2010() -> None:
    assert ListingPlan(FIRST, (FIRST - 300 * HOUR, FIRST), "1d", (EARLIEST_SINCE_MS, FIRST - 7 * HOUR)) == PLAN


def test_the_stretch_reaches_to_the_start_of_the_coarse_candle() -> None:
    plan = plan_listing(FIRST, MINUTES, [DAYS], 200)
    assert plan is not None
    assert plan.stretch == (FIRST - 7 * HOUR, FIRST)


def test_a_coarser_timeframe_is_used_if_the_history_has_too_many_pages() -> None:
    assert a_plan(page=100).coarse == "1w"
    assert plan_listing(FIRST, HOURS, [DAYS], 100) is None
    assert plan_listing(FIRST, WEEKS, [DAYS], 1000) is None, "no timeframe is as coarse as the series"


def test_a_series_in_the_coarse_timeframe_is_its_own_history() -> None:
    first = FIRST - 7 * HOUR + 1000  # some exchanges open their days at another time
    plan = plan_listing(first, DAYS, [DAYS], 1000)
    assert plan == ListingPlan(first, (first - 1000 * DAY, first), "1d", (EARLIEST_SINCE_MS, first))


def test_the_listing_is_proved_if_another_symbol_has_older_candles() -> None:
    assert reason_not_proved(PLAN, PROVED) is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (replace(PROVED, after=[]), "did not send the first candle again"),
        (replace(PROVED, after=[FIRST + HOUR]), "did not send the first candle again"),
        (replace(PROVED, own=[FIRST - 3 * HOUR]), "has older candles"),
        (replace(PROVED, own_coarse=[FIRST - 7 * HOUR - 99 * DAY, FIRST - 7 * HOUR]), "has older candles"),
        (replace(PROVED, own_coarse=[]), "has no 1d candle"),
        (replace(PROVED, other=[]), "no other symbol"),
        (replace(PROVED, other_coarse=[]), "no other symbol"),
        (replace(PROVED, created=FIRST - 91 * DAY), "is older than its first candle"),
    ],
)
def test_each_gap_in_the_evidence_leaves_it_unknown(changed: ListingAnswers, reason: str) -> None:
    found = reason_not_proved(PLAN, changed)
    assert found is not None
    assert reason in found


@given(
    first_trade=st.integers(0, 400),
    silent=st.sets(st.integers(0, 400)),
    fine_horizon=st.integers(0, 400),
    coarse_horizon=st.integers(0, 400),
)
def test_a_horizon_is_never_taken_for_a_listing(
    first_trade: int, silent: set[int], fine_horizon: int, coarse_horizon: int
) -> None:
    """Hours of an exchange that forgets candles before its horizons. The other symbol was always traded."""
    start = FIRST - 7 * HOUR - 200 * HOUR // DAY * DAY
    true_hours = [hour for hour in range(first_trade, 401) if hour not in silent]
    offered = [start + hour * HOUR for hour in true_hours if hour >= fine_horizon]
    if not offered:
        return
    plan = a_plan(offered[0])
    coarse = {DAYS.floor_open(start + hour * HOUR) for hour in true_hours}
    oldest_fine, oldest_coarse = start + fine_horizon * HOUR, start + coarse_horizon * HOUR
    answers = ListingAnswers(
        after=offered,
        own=[each for each in offered if each < plan.first],
        own_coarse=[each for each in sorted(coarse) if each >= oldest_coarse],
        other=[each for each in range(*plan.stretch, HOUR) if each >= oldest_fine],
        other_coarse=[
            each for each in range(plan.history[1] - 30 * DAY, plan.history[1], DAY) if each >= oldest_coarse
        ],
    )
    if reason_not_proved(plan, answers) is None:
        assert plan.first == start + true_hours[0] * HOUR or plan.first > oldest_fine
        missed = [hour for hour in true_hours if start + hour * HOUR < plan.first]
        assert not [hour for hour in missed if start + hour * HOUR >= min(oldest_fine, oldest_coarse + DAY)]


@given(st.integers(1, 3000), st.integers(1, 2000))
def test_the_number_of_requests_is_limited(days: int, page: int) -> None:
    first = EARLIEST_SINCE_MS + days * DAY + HOUR
    for calendar in (MINUTES, HOURS, DAYS):
        plan = plan_listing(first, calendar, [DAYS, WEEKS], page)
        if plan is not None:
            coarse = {"1d": DAYS, "1w": WEEKS}[plan.coarse]
            assert (plan.history[1] - plan.history[0]) / (coarse.nominal_ms * page) <= MAX_PAGES
            assert (plan.stretch[1] - plan.stretch[0]) / (calendar.nominal_ms * page) <= MAX_PAGES
