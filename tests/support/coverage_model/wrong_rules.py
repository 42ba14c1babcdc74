"""Wrong rules, each a fault that was found in a collector. The model must disagree with every one of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from typing_extensions import override

from collector.candles.absences import before_history
from collector.candles.page_requests import PageRequest, Proof, ReadingLimits
from collector.candles.pages import Page
from collector.candles.reading import SeriesReader
from contracts.coverage import to_milliseconds
from contracts.runs import TimeframeResult
from contracts.spans import Interval, Intervals, union
from scheduler.progress import Series, after_result
from support.coverage_model.world import Rules


class _ClaimsMore(SeriesReader):
    """Claims a further span for each answer."""

    def more(self, request: PageRequest, page: Page, now: int) -> Interval:
        raise NotImplementedError

    @override
    def receive(self, page: Page, now: int) -> Proof:
        request = self._request
        assert request is not None
        proof = super().receive(page, now)
        spans = union([*proof.verified, self.more(request, page, now)])
        self.verified = union([*self.verified, *spans])
        return Proof(spans, proof.rejected)


class BelievesThatPagesBeginAtSince(_ClaimsMore):
    """The first row may be later than `since` for other reasons than silence."""

    @override
    def more(self, request: PageRequest, page: Page, now: int) -> Interval:
        return (request.since, page.opens[0]) if page.opens else (0, 0)


class BelievesInTheRequestedWindow(_ClaimsMore):
    """An answer may cover less than `limit` candles, and an empty one may be a refusal."""

    @override
    def more(self, request: PageRequest, page: Page, now: int) -> Interval:
        end = self.calendar.shift(request.since, request.limit)
        return (request.since, min(end, self.calendar.floor_open(now)))


class BelievesInTheClock(_ClaimsMore):
    """The endpoint may lag behind, so silence after the last row proves nothing."""

    @override
    def more(self, request: PageRequest, page: Page, now: int) -> Interval:
        return (page.opens[-1], self.calendar.floor_open(now)) if page.opens else (0, 0)


class BelievesInItsAnchor(_ClaimsMore):
    """A page that does not contain the anchor is treated as if it did."""

    @override
    def more(self, request: PageRequest, page: Page, now: int) -> Interval:
        if self._anchor is None or not page.closed:
            return (0, 0)
        return (self._anchor, self.calendar.close_of(page.closed[-1].open_ms))


class BelievesRejectedRows(_ClaimsMore):
    """The period of a rejected row counts as read."""

    @override
    def more(self, request: PageRequest, page: Page, now: int) -> Interval:
        return (page.opens[0], self.calendar.close_of(page.closed[-1].open_ms)) if page.closed else (0, 0)


class BelievesYoungSilence(SeriesReader):
    """Silence younger than the settle time counts, although candles of quiet minutes are published late."""

    @override
    def receive(self, page: Page, now: int) -> Proof:
        settled, self._limits = self._limits, ReadingLimits(max_pages=self._limits.max_pages, settle_ms=0)
        try:
            return super().receive(page, now)
        finally:
            self._limits = settled


class ContinuesAtTheNewestCandle(SeriesReader):
    """The newest candle of a lagging endpoint is unfinished, so the next run must read it again."""

    @property
    @override
    def anchor(self) -> int | None:
        known = [each for each in (self._known.newest_closed, self._anchor) if each is not None]
        return max(known, default=None)


class HasNoPageLimit(SeriesReader):
    """A run that reads until it is done may never end."""

    @override
    def next_request(self, now: int, elapsed: float = 0.0) -> PageRequest | None:
        request = super().next_request(now, elapsed) or self._request
        return request or PageRequest(self.calendar.timeframe, 0, 1)


class NeverReadsTheNewestPage(SeriesReader):
    """A run that reads oldest first never reaches the present."""

    @override
    def next_request(self, now: int, elapsed: float = 0.0) -> PageRequest | None:
        request = super().next_request(now, elapsed)
        behind = self._anchor is not None and self.calendar.shift(self._anchor, 3 * self._limit) < now
        return None if behind else request


class BelievesThatHistoryIsTime(SeriesReader):
    """The newest candles reach further back than as many periods, if the exchange leaves out silence."""

    @override
    def _before_history(self) -> Intervals:
        return before_history(replace(self._traits, history_by_time=True), self.calendar, (), self._now)


class BelievesThatHistoryIsGone(SeriesReader):
    """If an exchange keeps a limited history, everything that was not read counts as lost."""

    @property
    @override
    def lost(self) -> Intervals:
        return () if self._traits.history_candles is None else self.holes()


def _without_pending(
    series: Series, result: TimeframeResult, *, finished_at: int, now: int, interval_ms: int
) -> Series:
    """Time between the old and the new anchor is forgotten."""
    after = after_result(series, result, finished_at=finished_at, now=now, interval_ms=interval_ms)
    return Series(after.anchor, ())


def _from_the_last_verified(
    series: Series, result: TimeframeResult, *, finished_at: int, now: int, interval_ms: int
) -> Series:
    """The next run begins after the last verified span, and does not read the settle time again."""
    after = after_result(series, result, finished_at=finished_at, now=now, interval_ms=interval_ms)
    ends = [to_milliseconds(span.end) for span in result.verified]
    return after if after.anchor is None or not ends else Series(max(after.anchor, *ends), after.pending)


def _claiming_all_before_the_anchor(
    series: Series, result: TimeframeResult, *, finished_at: int, now: int, interval_ms: int
) -> Series:
    """A newer anchor counts as proof of all time before it."""
    if result.anchor is not None and series.anchor is not None and to_milliseconds(result.anchor) > series.anchor:
        return Series(to_milliseconds(result.anchor), series.pending)
    return after_result(series, result, finished_at=finished_at, now=now, interval_ms=interval_ms)


WRONG_RULES: Final[Mapping[str, Rules]] = {
    "a page begins at since": Rules(reader=BelievesThatPagesBeginAtSince),
    "a page covers the requested window": Rules(reader=BelievesInTheRequestedWindow),
    "silence up to now is proved": Rules(reader=BelievesInTheClock),
    "every page contains the anchor": Rules(reader=BelievesInItsAnchor),
    "rejected rows count as read": Rules(reader=BelievesRejectedRows),
    "young silence is proved": Rules(reader=BelievesYoungSilence),
    "the anchor is the newest candle": Rules(reader=ContinuesAtTheNewestCandle),
    "the newest candles are the newest periods": Rules(reader=BelievesThatHistoryIsTime),
    "all unread time is lost": Rules(reader=BelievesThatHistoryIsGone),
    "a run has no limit": Rules(reader=HasNoPageLimit),
    "a run far behind does nothing": Rules(reader=NeverReadsTheNewestPage),
    "pending spans are dropped": Rules(after_result=_without_pending),
    "the anchor is the end of the verified time": Rules(after_result=_from_the_last_verified),
    "a newer anchor proves the time before": Rules(after_result=_claiming_all_before_the_anchor),
}
"""Description of the wrong rule to the rules with it."""
