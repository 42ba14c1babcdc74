"""How a run reads one series: which pages it requests, and what their answers prove. Pure: no I/O, time is an argument.

A page vouches for the time between its first row and the close of its last closed row. There is no other proof: an
empty answer, the requested range and the clock prove nothing. So a run continues at a known candle (the anchor). If a
page begins after the known candle, the time between them is a hole. The reader never skips a hole without reporting it.

No table can list all differences between exchanges. They ignore `since`, send fewer rows than requested, begin
after `since`, order newest first, or send one file per day. The rules are correct for all of them; a wrong assumption
about pages only costs requests.
"""

from collections.abc import Generator, Iterable
from math import inf
from typing import Final

from collector.candles.absences import AbsentSpan, before_history, classified
from collector.candles.known_candles import KnownCandles
from collector.candles.page_requests import EARLIEST_SINCE_MS, PageRequest, Proof, ReadingLimits
from collector.candles.pages import BadRow, Page, SeriesCalendar, page_spans
from collector.exchange.traits import ExchangeTraits
from contracts.coverage import SeriesProgress, to_milliseconds
from contracts.spans import Interval, Intervals, intersect, subtract, union

MARGIN: Final = 2
"""A page is requested from this number of candles before the anchor, because some exchanges exclude `since` itself."""

_END_OF_READING: Final = 0.85
"""The share of a run's time after which no further page is requested."""


class SeriesReader:
    """Reads one series in one run. Alternate `next_request` and `receive`; stop at any time.

    The results are complete after every page. If a run fails or is stopped, the results of all earlier pages are used.
    """

    _max_misses: float = 3
    """After this number of answers without a row in a hole, the next run continues the reading of the hole."""

    def __init__(
        self,
        traits: ExchangeTraits,
        progress: SeriesProgress,
        page_limit: int,
        now: int,
        *,
        limits: ReadingLimits | None = None,
        honours_until: bool = False,
        salt: int = 0,
    ) -> None:
        """`now`: the exchange's time (ms). `honours_until`: a request can have an end. `salt`: any number that differs
        between runs, such as the run's id. It varies the place of the next request if an exchange seems to have no
        newer candles.
        """
        self._traits, self._honours_until = traits, honours_until
        self._limits = limits or ReadingLimits()
        self._salt, self._now, self._elapsed, self.pages = salt, now, 0.0, 0
        self.calendar = SeriesCalendar.of(traits, progress.timeframe)
        self._limit = self._width = max(1, page_limit)
        """`_width`: the number of candles that one page is known to reach; lowered when an answer proves less."""
        self._anchor = None if progress.anchor is None else to_milliseconds(progress.anchor)
        settled_at = now - self._limits.settle_ms
        self._is_anchor_settled = self._anchor is not None and self.calendar.close_of(self._anchor) <= settled_at
        self._edge_start: int | None = self._anchor
        """From here on, all time up to the newest candle must be verified or reported."""
        self._pending = [
            (each.milliseconds(), each.attempts, 0 if each.retry_at is None else to_milliseconds(each.retry_at))
            for each in progress.pending
        ]
        self.verified: Intervals = ()
        """The spans that the answers of this run vouch for."""
        self.rejected: dict[tuple[int, str], BadRow] = {}
        """By open time and row."""
        self._requested: list[Interval] = []
        self._known = KnownCandles(newest=self._anchor)
        self._unconfirmed: frozenset[tuple[int, str]] | None = None
        self._steps: Generator[PageRequest, Page, None] = self._read()
        self._request: PageRequest | None = None
        self._is_started = False
        self._is_silent = False
        """The last answer reached the present. Only an exchange that sends all rows it has can prove this."""

    # ---- the caller's side ----

    def next_request(self, now: int, elapsed: float = 0.0) -> PageRequest | None:
        """The next page to request. None if the run has nothing left to request.

        `elapsed`: the share of the run's time that is used, from 0 to 1. Reading ends before the deadline.
        """
        self._now, self._elapsed = max(self._now, now), elapsed
        if not self._is_started:
            self._is_started = True
            self._request = next(self._steps, None)
        return self._request if self.pages < self._limits.max_pages else None

    def receive(self, page: Page, now: int) -> Proof:
        """Take the answer to the current request, which was sent at `now` on the exchange's clock."""
        self.pages += 1
        self._now = max(self._now, now)
        settled_at = now - self._limits.settle_ms
        spans = page_spans(self.calendar, page, settled_at=settled_at)
        self.verified = union([*self.verified, *spans])
        self._known.add(page, self.calendar, settled_at)
        self._learn_width(page)
        found = frozenset((row.opens, row.row) for row in page.rejected)
        if found - self.rejected.keys() and self._unconfirmed is None:
            self._unconfirmed = found  # repeat the request: a bad row is rejected if it is sent twice
            return Proof(spans, ())
        confirmed = tuple(row for row in page.rejected if (row.opens, row.row) in (self._unconfirmed or ()))
        self.rejected |= {(row.opens, row.row): row for row in confirmed}
        self._unconfirmed = None
        try:
            self._request = self._steps.send(page)
        except StopIteration:
            self._request = None
        return Proof(spans, confirmed)

    @property
    def anchor(self) -> int | None:
        """The candle from which the next run reads on: the newest one that was older than the settle time when it was
        read. The first run of a series uses any candle, even an open one. None if the known anchor does not change.
        """
        newest, oldest = self._known.newest_settled, self._known.oldest_closed
        if self._anchor is not None:
            return max(newest or 0, self._anchor) if self._is_anchor_settled else newest
        if newest is not None or oldest is not None:
            return oldest if newest is None else newest
        return min(self._known.opens, default=None)

    @property
    def requested(self) -> Intervals:
        """Spans without a known candle that the run requested, whether or not the answers vouch for them."""
        return union(self._requested)

    def holes(self) -> Intervals:
        """The unverified spans between known candles, ascending: spans that this run found, and pending spans from
        earlier runs.
        """
        spans = [*self._pending_spans(), *self._edge()]
        return subtract(spans, self.verified) if spans else ()

    def absences(self) -> list[AbsentSpan]:
        """The holes that this run has found or requested, ascending, with the reason and the evidence in words."""
        holes = self.holes()
        if not holes and not self.rejected:
            return []
        untouched = self._untouched()
        rejected = union([(each.opens, self.calendar.close_of(each.opens)) for each in self.rejected.values()])
        # After the anchor, only rejected rows are reported. Each run requests the other holes after the anchor again.
        anchor = self.anchor or self._edge_start
        after_anchor = [] if anchor is None else [(anchor, self._known.newest_closed or anchor)]
        young = intersect(subtract(after_anchor, self.verified), rejected)
        return classified(
            union([*subtract(holes, untouched), *young]),
            rejected=rejected,
            lost=self.lost,
            requested=self.requested,
            pages=self.pages,
            kept=self._traits.history_candles,
        )

    @property
    def lost(self) -> Intervals:
        """The holes, or parts of them, that are older than the oldest candle that the exchange still offers."""
        before_history = self._before_history()
        return intersect(self.holes(), before_history) if before_history else ()

    def _before_history(self) -> Intervals:
        return before_history(self._traits, self.calendar, self._known.opens, self._now)

    def _pending_spans(self) -> Iterable[Interval]:
        return [span for span, _, _ in self._pending]

    def _untouched(self) -> Intervals:
        """The pending time that this run has not requested. Its reasons are known from earlier runs."""
        return subtract(self._pending_spans(), [*self.requested, *self._edge()])

    def _edge(self) -> Intervals:
        """The time from the first known candle of this run to its newest settled candle, or else to its first one."""
        end = self._known.newest_settled or self._known.oldest_closed or 0
        return () if self._edge_start is None else union([(self.calendar.close_of(self._edge_start), end)])

    # ---- which pages ----

    def _read(self) -> Generator[PageRequest, Page, None]:
        anchor = self._anchor
        is_near = anchor is not None and (self._now - anchor) // self.calendar.nominal_ms < self._limit
        if anchor is not None and is_near:
            yield from self._read_forward(anchor)
        if not is_near and self._may_be_behind():
            yield from self._read_newest([self._limit])
        if not self._known.opens and anchor is None:
            eighths = [self._limit >> each for each in range(3, self._limit.bit_length(), 3)]
            yield from self._read_newest(dict.fromkeys([*eighths, 1]))
        elif self._may_be_behind():
            yield from self._read_newest(self._another_width())
        if anchor is None:
            self._edge_start = self._known.oldest_closed
        elif not is_near and (self._known.newest_closed or anchor) <= anchor:
            yield from self._read_forward(anchor)
        yield from self._read_holes()

    def _read_forward(self, frontier: int) -> Generator[PageRequest, Page, None]:
        """Read page after page from a known candle on, until a page has no newer row or the budget is used up."""
        while self._has_edge_budget():
            newest = yield from self._read_after(frontier)
            if newest is None or self._is_caught_up():
                return
            frontier = newest

    def _read_after(self, frontier: int) -> Generator[PageRequest, Page, int | None]:
        """The newest row after a known candle; None if no answer has one."""
        following = self.calendar.close_of(frontier)
        # Some exchanges exclude `since` itself, and a page may be too short to contain a row after the known candle.
        for since in (self.calendar.shift(frontier, -MARGIN), following):
            page = yield from self._ask(since)
            newer = [at for at in page.opens if at > frontier]
            if newer:
                if page.opens[0] > following and self._has_budget():
                    yield from self._ask(frontier, until=self.calendar.shift(frontier, self._width))
                return newer[-1]
            nothing_can_follow = self._is_silent or (frontier == self._known.newest and self._is_recent())
            if nothing_can_follow or not self._has_budget():
                return None
        return None

    def _read_newest(self, widths: Iterable[int]) -> Generator[PageRequest, Page, None]:
        """Read the newest page, then forward to the present. A page may be narrower than requested, so later requests
        begin closer to now.
        """
        for width in widths:
            before = self._known.newest
            if not self._has_edge_budget(for_newest_page=True):
                return
            yield from self._ask(self.calendar.shift(self.calendar.floor_open(self._now), 1 - width))
            newest = self._known.newest
            if newest is not None and newest != before and not self._is_caught_up():
                yield from self._read_forward(newest)
            if self._is_caught_up() or self._is_silent:
                return

    def _another_width(self) -> list[int]:
        """A smaller width, which differs between runs. It may find the newest candles if pages are smaller than
        requested.
        """
        return [1 << self._salt % (self._limit - 1).bit_length()] if self._limit > 1 else [1]

    def _read_holes(self) -> Generator[PageRequest, Page, None]:
        """Read the holes that are due, newest first."""
        for hole, attempts in self._due_holes():
            yield from self._read_hole(hole, max(1, self._limit >> min(attempts, 16)))
            if subtract([hole], self.verified) and self._has_budget():
                yield from self._read_after(self.calendar.shift(hole[0], -1))

    def _read_hole(self, hole: Interval, step: int) -> Generator[PageRequest, Page, None]:
        """Read a hole from its end to its start. `step`: the expected number of candles per answer."""
        cursor, misses = hole[1], 0
        while cursor > hole[0] and misses < self._max_misses and self._has_budget():
            step = min(step, self._width)
            since = max(self.calendar.shift(cursor, -step), self.calendar.shift(hole[0], -MARGIN))
            page = yield from self._ask(since, until=self.calendar.shift(cursor, MARGIN))
            if self._honours_until and page.opens and page.opens[0] >= cursor and self._has_budget():
                # If the page contains the newest rows before its end, the margin may fill it completely.
                page = yield from self._ask(since, until=cursor)
            inside = [at for at in page.opens if hole[0] <= at < cursor]
            misses = 0 if inside or self._traits.exact_page_limit else misses + 1
            first, requested_until = inside[0] if inside else since, cursor
            while inside and subtract([(inside[-1], cursor)], self.verified):
                if not self._has_budget():
                    requested_until = self.calendar.close_of(inside[-1])  # later runs request the rest
                    break
                page = yield from self._ask(inside[-1], until=self.calendar.shift(cursor, MARGIN))
                inside = [at for at in page.opens if inside[-1] < at < cursor]
            self._requested.append((max(since, hole[0]), requested_until))
            # The next page ends behind a row of this one, so that rows on both sides prove silence between them.
            left = subtract([(hole[0], first)], [*self.verified, *self._before_history()])
            cursor = left[-1][1] if left else hole[0]

    def _due_holes(self) -> list[tuple[Interval, int]]:
        """The spans to read, each with the number of earlier attempts. Spans without attempts come first, in descending
        order.
        """
        lost = self._before_history()
        new = subtract([*self.holes(), *self._silence_after_newest()], [*self._pending_spans(), *lost])
        found = [(span, 0) for span in new]
        for span, attempts, retry_at in self._pending:
            if retry_at <= self._now:
                found += [(each, attempts) for each in subtract([span], [*self.verified, *lost])]
        return sorted(found, key=lambda each: (each[1] > 0, -each[0][1]))

    def _silence_after_newest(self) -> Intervals:
        """The time from one page after the newest row to the candle that is open now."""
        if self._known.newest is None or not self._may_be_behind():
            return ()
        start = self.calendar.shift(self._known.newest, self._width)
        end = self.calendar.floor_open(self._now)
        return ((start, end),) if start < end else ()

    def _ask(self, since: int, until: int | None = None) -> Generator[PageRequest, Page, Page]:
        since = max(EARLIEST_SINCE_MS, min(since, self.calendar.floor_open(self._now)))
        until = until if self._honours_until else None
        # such exchanges may refuse a request that is wider than a page
        if until is not None and self._traits.exact_page_limit:
            until = min(until, self.calendar.shift(since, self._limit))
        page = yield PageRequest(self.calendar.timeframe, since, self._limit, until)
        if self._traits.exact_page_limit and until is None:
            reaches_now = self.calendar.shift(since, self._limit) > self._now
            self._is_silent = len(page.opens) < self._limit and reaches_now
        return page

    # ---- what is known ----

    def _is_caught_up(self) -> bool:
        """Whether the newest row is the last closed candle or a later one."""
        newest = self._known.newest
        return newest is not None and self.calendar.close_of(self.calendar.close_of(newest)) > self._now

    def _is_recent(self) -> bool:
        """Whether the newest row is the last closed candle, or a candle that closed within the settle time. Then the
        next run can read the rest.
        """
        newest = self._known.newest
        return newest is not None and (
            self._is_caught_up() or self.calendar.close_of(newest) + self._limits.settle_ms > self._now
        )

    def _may_be_behind(self) -> bool:
        return not self._is_recent() and not self._is_silent

    def _learn_width(self, page: Page) -> None:
        """Lower the width if a known candle should be in the page, but opens after the last row of the page."""
        request = self._request
        if request is None or not page.opens:
            return
        last, end = page.opens[-1], min(self.calendar.shift(request.since, self._width), request.until or inf)
        if any(last < at < end for at in self._known.opens):
            self._width = max(1, (last - request.since) // self.calendar.nominal_ms + 1)

    # ---- bounds ----

    def _has_budget(self) -> bool:
        return self.pages < self._limits.max_pages and self._elapsed < _END_OF_READING

    def _has_edge_budget(self, *, for_newest_page: bool = False) -> bool:
        """Whether reading from the anchor may continue: it gets half of the pages and half of the time, so that the run
        always reads the newest page.
        """
        if for_newest_page:
            return self._has_budget()
        return self.pages < max(1, self._limits.max_pages // 2) and self._elapsed < _END_OF_READING / 2
