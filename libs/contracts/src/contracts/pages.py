"""How missing time is divided into requests, and how far back an exchange can be read. Pure.

The backfiller uses this to divide missing time, and admin-api to estimate the number of requests. Times are in
milliseconds since the epoch.
"""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from contracts.bounds import END_OF_MILLISECONDS
from contracts.spans import Interval, Intervals
from contracts.timeframes import floor_open, parse_timeframe, shift, shortest_length

EARLIEST: Final = datetime(2010, 1, 1, tzinfo=UTC)
"""The earliest time that is requested. No exchange has older candles."""
UNKNOWN_PAGE: Final = 100
"""The number of candles per request if the exchange catalogue has no entry."""
_MARGIN: Final = 2
"""The number of candles that a page reads in addition to its own: one before it and one after it. They show that no
candle is missing at the start or at the end.
"""


def page_without_joins(page: int, newest_readable: int | None) -> int:
    """The `page` of an exchange for the functions below. If each answer has all candles that the exchange keeps, there
    are no pages to join.
    """
    return page + _MARGIN if newest_readable is not None and newest_readable <= page else page


def pages_of(timeframe: str, page: int, missing: Intervals) -> Iterator[Interval]:
    """The smallest number of pages that contain all missing time, the newest first. Holes that fit into one page are
    read together. Pages are counted from the end of a hole, because this end is the edge of a candle on the exchange's
    own grid.

    `page`: the candles that one request covers.
    """
    width = max(1, page - _MARGIN)
    left = list(missing)
    while left:
        end = left[-1][1]
        first = shifted(timeframe, end, -width)
        start = end
        while left and left[-1][1] > first:
            piece = left.pop()
            start = max(piece[0], first)
            if piece[0] < first:
                left.append((piece[0], first))
                break
        yield start, end


def count_pages(timeframe: str, page: int, missing: Intervals) -> int:
    """The number of pages that `pages_of` would return, computed without a loop over them. For months and years it may
    differ by one per hole.
    """
    width = max(1, page - _MARGIN) * parse_timeframe(timeframe).nominal_ms
    count, first = 0, None
    for start, hole_end in reversed(missing):
        end = hole_end if first is None else min(hole_end, first)
        if end - start < (shortest_length(timeframe) if end == hole_end else 1):
            continue  # no candle fits, or an earlier page contains it
        pages = math.ceil((end - start) / width)
        count += pages
        first = end - pages * width
    return count


def horizon_of(timeframe: str, newest_readable: int | None, now: int) -> int | None:
    """The open time of the oldest candle that can be read. None: no limit is known.

    `newest_readable`: the number of newest candles that the exchange sends, the open one included.
    """
    if newest_readable is None:
        return None
    return shifted(timeframe, floor_open(timeframe, now), 1 - newest_readable)


def shifted(timeframe: str, opens: int, count: int) -> int:
    """The result of `shift`, limited to the times that events may contain."""
    nominal = opens + count * parse_timeframe(timeframe).nominal_ms
    if nominal <= 0 or nominal >= END_OF_MILLISECONDS - 1:
        return 0 if nominal <= 0 else END_OF_MILLISECONDS - 1
    return max(0, shift(timeframe, opens, count))
