"""The proof of a listing: decides whether the first candle of a series is also the first candle of its market. Pure.

An exchange that offers candles for a limited time answers like one that listed the market later. So the proof needs
another symbol with candles from before the first one, in the same timeframes. Times are milliseconds since the epoch.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple

from collector.candles.page_requests import EARLIEST_SINCE_MS
from collector.candles.pages import SeriesCalendar
from contracts.spans import Interval

MAX_PAGES: Final = 30
"""The largest number of requests for the coarse candles of the whole history, and the largest number for the fine
candles of the stretch.
"""

COARSE: Final = ("1d", "1w", "1M")
"""The timeframes for the whole history, the most exact one first."""

_CREATED_BEFORE_MS: Final = 90 * 86_400_000
"""If the exchange states a creation time that is earlier than the first candle by more than this, candles may be
missing.
"""


class ListingPlan(NamedTuple):
    """The candles to request for the proof. The spans end at or before the first candle."""

    first: int
    """The open time of the first known candle."""
    stretch: Interval
    """The time before the first candle that is read in the timeframe of the series: at least one page."""
    coarse: str
    history: Interval
    """The time from 2010 to the coarse candle that contains the first one, in the coarse timeframe."""


@dataclass(frozen=True, kw_only=True)
class ListingAnswers:
    """The open times of the candles in the answers. Candles outside of the requested spans are left out."""

    after: Collection[int]
    """The candles of the series, from the first known one on."""
    own: Collection[int]
    """The candles of the series in the stretch."""
    own_coarse: Collection[int]
    """The coarse candles of the symbol in the history, and the coarse candle that contains the first candle."""
    other: Collection[int]
    """The candles of the other symbol in the stretch."""
    other_coarse: Collection[int]
    """The coarse candles of the other symbol before the coarse candle that contains the first candle."""
    created: int | None = None
    """The creation time of the market according to the exchange. It proves nothing, but it can contradict the proof."""


def plan_listing(
    first: int, calendar: SeriesCalendar, coarse: Collection[SeriesCalendar], page: int
) -> ListingPlan | None:
    """The requests for the proof, at most `MAX_PAGES` per timeframe. None if they would be more.

    `page`: the number of candles that one request covers. `coarse`: the calendars of those timeframes of `COARSE` that
    the exchange has, the most exact one first.
    """
    for each in coarse:
        if each.nominal_ms < calendar.nominal_ms:
            continue
        bucket = first if each.timeframe == calendar.timeframe else each.floor_open(first)
        stretch = min(bucket, calendar.shift(first, -page)), first
        pages = max(
            (bucket - EARLIEST_SINCE_MS) // (each.nominal_ms * page),
            (first - stretch[0]) // (calendar.nominal_ms * page),
        )
        if pages < MAX_PAGES and stretch[0] > EARLIEST_SINCE_MS:
            return ListingPlan(first, stretch, each.timeframe, (EARLIEST_SINCE_MS, bucket))
    return None


def reason_not_proved(plan: ListingPlan, answers: ListingAnswers) -> str | None:
    """The reason why the answers do not prove that the market was listed with its first candle. None if they prove
    it.
    """
    if min(answers.after, default=None) != plan.first:
        return "the exchange did not send the first candle again"
    if answers.own or any(opens < plan.history[1] for opens in answers.own_coarse):
        return "the exchange has older candles"
    if plan.history[1] not in answers.own_coarse:
        return f"the exchange has no {plan.coarse} candle of the time of the first candle"
    if not answers.other or not answers.other_coarse:
        return "no other symbol shows that the exchange offers candles from before the first one"
    if answers.created is not None and answers.created < plan.first - _CREATED_BEFORE_MS:
        return "the exchange says that the market is older than its first candle"
    return None
