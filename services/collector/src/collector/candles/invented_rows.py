"""Removes rows that an exchange continues to send for a market that is no longer traded. Pure."""

from dataclasses import replace
from itertools import takewhile

from collector.candles.pages import Page, SeriesCalendar
from contracts.candles import NO_ACTIVITY, Activity, Candle
from contracts.spans import Interval


def without_invented_rows(
    page: Page, calendar: SeriesCalendar, not_traded_since: int | None
) -> tuple[Page, Interval | None]:
    """The page without its last rows, if they show no trade and open when the market was no longer traded. Also returns
    the time of the removed rows.

    `not_traded_since`: in milliseconds; None if the market is traded, or if this is not known. Flat rows before a row
    with a trade are kept, because this row shows that the market was still traded.
    """
    if not_traded_since is None:
        return page, None
    invented = list(
        takewhile(
            lambda row: row.open_ms >= not_traded_since and shows_no_trade(row, page.activity.get(row.open_ms)),
            reversed(page.closed),
        )
    )
    if not invented:
        return page, None
    start, end = invented[-1].open_ms, calendar.close_of(invented[0].open_ms)
    kept = replace(
        page,
        opens=tuple(opens for opens in page.opens if opens < start),
        closed=tuple(row for row in page.closed if row.open_ms < start),
        rejected=tuple(row for row in page.rejected if row.opens < start),
        activity={opens: values for opens, values in page.activity.items() if opens < start},
    )
    return kept, (start, end)


def shows_no_trade(row: Candle, activity: Activity | None) -> bool:
    """Whether the row is flat and has no volume. If the exchange sends a trade count, it must be zero."""
    trades = (activity or NO_ACTIVITY).trades
    return row.open == row.high == row.low == row.close and row.volume == 0 and not trades
