"""The candles in the answers of one run."""

from collector.candles.pages import Page, SeriesCalendar


class KnownCandles:
    """The open times that decide about the next page. All times are in milliseconds since the epoch."""

    def __init__(self, newest: int | None) -> None:
        self.opens: set[int] = set()
        """Of all rows, including rejected ones and the open candle."""
        self.newest = newest
        """The newest known candle, also if it is still open."""
        self.oldest_closed: int | None = None
        self.newest_closed: int | None = None
        self.newest_settled: int | None = None
        """The newest candle that was older than the settle time when it was read."""

    def add(self, page: Page, calendar: SeriesCalendar, settled_at: int) -> None:
        """Add the open times of an answer. A candle that closed at `settled_at` or before does not change any more."""
        if not page.opens:
            return
        self.opens.update(page.opens)
        self.newest = _later(self.newest, page.opens[-1])
        if not page.closed:
            return
        first, last = page.closed[0].open_ms, page.closed[-1].open_ms
        self.oldest_closed = first if self.oldest_closed is None else min(self.oldest_closed, first)
        self.newest_closed = _later(self.newest_closed, last)
        newest_first = (candle.open_ms for candle in reversed(page.closed))
        settled = next((at for at in newest_first if calendar.close_of(at) <= settled_at), None)
        if settled is not None:
            self.newest_settled = _later(self.newest_settled, settled)


def _later(one: int | None, other: int) -> int:
    return other if one is None else max(one, other)
