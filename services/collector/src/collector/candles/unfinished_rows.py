"""Keeps a lagging answer from replacing a final candle by an unfinished one. Pure.

The newest row of a lagging answer was still open at the time that the answer shows. Its close has passed since, so it
looks final. The next run reads it again, but a config that was disabled meanwhile has no next run.
"""

from dataclasses import replace

from collector.candles.pages import Page, SeriesCalendar


def without_unfinished_row(page: Page, calendar: SeriesCalendar, newest_published: int | None, settled_at: int) -> Page:
    """The page without its newest closed candle, if an earlier run has published a newer one (`newest_published`, its
    open time).

    A candle that closed before `settled_at` stays, because a page of the history ends before the newest candle, too.
    """
    if newest_published is None or not page.closed or page.opens[-1] >= newest_published:
        return page
    last = page.closed[-1].open_ms
    is_unfinished = last == page.opens[-1] and calendar.close_of(last) > settled_at
    return replace(page, closed=page.closed[:-1]) if is_unfinished else page
