"""How a run reads a span of history. Pure: no I/O, time is an argument."""

from collections.abc import Generator
from math import inf

from typing_extensions import override

from collector.candles.page_requests import PageRequest
from collector.candles.pages import Page
from collector.candles.reading import MARGIN, SeriesReader
from contracts.spans import Interval, Intervals, intersect, subtract


class RangeReader(SeriesReader):
    """Reads only the pending span of its progress, the newest part first.

    It requests neither the newest page nor the time after the span, and reports no anchor. After the run, each part of
    the span is verified or has a reason. It is used like `SeriesReader`.
    """

    _max_misses = inf
    """No limit, so that the run reads all of its span. The next attempt would begin at the end of the span again."""

    @property
    @override
    def anchor(self) -> None:
        return None

    @override
    def _pending_spans(self) -> Intervals:
        """The span, cut at the candle that is open now, because later candles do not exist yet."""
        return intersect(super()._pending_spans(), [(0, self.calendar.floor_open(self._now))])

    @override
    def _untouched(self) -> Intervals:
        return ()

    @override
    def _read(self) -> Generator[PageRequest, Page, None]:
        """Read the span. Then read the rest of it again in smaller steps, as long as each pass finds something."""
        before: Intervals = ()
        narrowed = max((attempts for _, attempts, _ in self._pending), default=0)
        # Younger silence can be verified only by a later run. The limit stays the same during the run, so that no
        # request is sent for it.
        settled = [(0, self.calendar.floor_open(self._now - self._limits.settle_ms))]
        left = self._left(self._pending_spans())
        while left and left != before and self._has_budget():
            for hole in reversed(left):
                yield from self._read_hole(hole, self._step(hole, narrowed))
                if self._left(intersect([hole], settled)) and self._has_budget():
                    yield from self._read_after(self.calendar.shift(hole[0], -1))
            before, left = left, self._left(intersect(self._pending_spans(), settled))
            narrowed += 1

    def _left(self, wanted: Intervals) -> Intervals:
        """The part of the wanted time that requests may still verify."""
        rejected = [(row.opens, self.calendar.close_of(row.opens)) for row in self.rejected.values()]
        return subtract(wanted, [*self.verified, *rejected, *self._before_history()])

    def _step(self, hole: Interval, narrowed: int) -> int:
        """The number of candles per request: halved with each attempt, but never so small that the hole would need more
        than half of the run's pages.
        """
        step = self._limit
        if self._honours_until and not self._traits.exact_page_limit:
            # A page may contain the newest rows before the requested end, and this end is MARGIN after the hole.
            step -= MARGIN
        fitting = 2 * (hole[1] - hole[0]) // (self.calendar.nominal_ms * self._limits.max_pages)
        return max(1, step >> min(narrowed, 16), min(step, fitting))
