"""Keeps a lagging answer from replacing a final candle by an unfinished one. Pure.

The newest row of a lagging answer was still open at the time that the answer shows. Its close has passed since, so it
looks final. The next run reads it again, but a config that was disabled meanwhile has no next run.
"""

from dataclasses import replace

from collector.candles.pages import Page, SeriesCalendar
from contracts.candles import Candle


def without_unfinished_row(page: Page, calendar: SeriesCalendar, published: Candle | None, settled_at: int) -> Page:
    """The page without its newest closed candle, if an earlier run has proved that this candle may be unfinished.

    `published`: the newest candle that earlier runs have published. The newest row of the page may be unfinished if it
    is the same candle with less volume, or if it is older than that candle and closed after `settled_at`. Rows that
    closed earlier stay, because a page of the history ends before the newest candle, too.
    """
    if published is None or not page.closed or page.opens[-1] > published.open_ms:
        return page
    newest = page.closed[-1]
    if newest.open_ms == published.open_ms:
        is_unfinished = newest.volume < published.volume
    else:
        is_unfinished = newest.open_ms == page.opens[-1] and calendar.close_of(newest.open_ms) > settled_at
    return replace(page, closed=page.closed[:-1]) if is_unfinished else page
