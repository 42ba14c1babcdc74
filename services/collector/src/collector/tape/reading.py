"""Decides which pages of trades a run requests for a span, and when the trades cover the whole span. Pure.

Times are milliseconds since the epoch.
"""

from collections.abc import Sequence
from typing import Final

from collector.tape.building import TapeTrade
from contracts.spans import Interval

PAGE_TRADES: Final = 1_000
"""The number of trades to request per page."""

LEADS_MS: Final = tuple(minutes * 60_000 for minutes in (1, 10, 100, 1_000, 10_000))
"""How far before the span the first page begins. Only a trade before the span shows that the first period is complete.
If there is no such trade, the next attempt begins earlier, by the next of these values.
"""

_SECOND_MS: Final = 1_000
_HOUR_MS: Final = 3_600_000


class TapeReader:
    """Reads forward from before the span until a trade at or after its end. Pages overlap, so that trades with the same
    time at the border of two pages are not lost. The ids show whether a trade is missing.
    """

    def __init__(self, span: Interval, now: int, max_pages: int, page: int = PAGE_TRADES) -> None:
        self.trades: set[TapeTrade] = set()
        self.pages = 0
        self.stopped: str | None = None
        """Why the tape ends before the end of the span, in words."""
        self._span, self._now, self._max_pages, self._page = span, now, max_pages, page
        self._leads = list(LEADS_MS)
        self._since = _earlier(span[0], self._leads.pop(0))
        self._complete = False

    def next_since(self) -> int | None:
        """The time from which the next page is requested. None if there are no more pages to request."""
        if self._complete or self.stopped is not None:
            return None
        if self.pages >= self._max_pages:
            self.stopped = f"the run read {self.pages} pages of trades, its limit"
            return None
        return self._since

    def receive(self, rows: Sequence[TapeTrade]) -> None:
        """Add the answer to the last request, in any order."""
        self.pages += 1
        start, end = self._span
        if self._leads and not any(each.at < start for each in rows):
            self._since = _earlier(start, self._leads.pop(0))
            return
        self._leads.clear()
        is_new = not self.trades.issuperset(rows)
        self.trades.update(rows)
        latest = max((each.at for each in rows), default=start)
        self._complete = latest >= end
        if not self._complete:
            self._go_on(latest, is_new=is_new, is_full=len(rows) >= self._page)

    def _go_on(self, latest: int, *, is_new: bool, is_full: bool) -> None:
        """The next page begins a second before the latest trade, or at its second. If an answer contains no new trade,
        the next page begins an hour later, because some exchanges send at most an hour of trades.
        """
        starts = [_earlier(latest, _SECOND_MS), _earlier(latest, 0)]
        if is_new or is_full:
            since = next((each for each in starts if each > self._since), None)
            if since is None and is_full:
                self.stopped = "more trades in one second than a page has"
        else:
            since = None
        self._since = self._since + _HOUR_MS if since is None else since
        if self.stopped is None and self._since > self._now:
            self.stopped = "the exchange has no later trade"


def _earlier(instant: int, by: int) -> int:
    """The previous whole second. Some exchanges do not support milliseconds, and ccxt then drops trades of the
    answer.
    """
    return max(0, (instant - by) // _SECOND_MS * _SECOND_MS)
