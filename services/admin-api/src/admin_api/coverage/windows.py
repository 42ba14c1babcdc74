"""The range of a request, and its parts before, within and after the verified spans of the series. Pure."""

from dataclasses import dataclass
from datetime import datetime

from contracts.coverage import to_instant, to_milliseconds
from store.periods import PeriodGrid

Window = tuple[datetime, datetime]
"""A half-open interval of time, not empty."""


@dataclass(frozen=True)
class Extent:
    """The known times of a series. A field is None if there is no such instant."""

    first_open: datetime | None = None
    last_open: datetime | None = None
    verified_from: datetime | None = None
    verified_until: datetime | None = None
    first_absence: datetime | None = None


def grid_of(exchange: str, timeframe: str, extent: Extent) -> PeriodGrid:
    """The grid of the series. It contains the newest candle, because an exchange may have opened its oldest candles at
    irregular times.

    Raises `ValueError` for a text that is no timeframe.
    """
    anchor = extent.last_open or extent.verified_from or extent.first_absence
    return PeriodGrid.of_series(exchange, timeframe, None if anchor is None else to_milliseconds(anchor))


def closed_window(
    start: datetime | None, end: datetime | None, extent: Extent, grid: PeriodGrid, now: datetime
) -> Window | None:
    """The closed periods that begin at `start` or later and before `end`. None if there are no such periods.

    If `start` is not given, the range begins with the first known instant of the series. If `end` is not given, the
    range ends with the latest period that has ended.
    """
    known = (extent.first_open, extent.verified_from, extent.first_absence)
    start = start or min((each for each in known if each is not None), default=None)
    if start is None or start >= now:
        return None
    first, last_close = _edge_after(start, grid), grid.at_or_before(to_milliseconds(now))
    if end is not None and end < now:
        last_close = min(last_close, _edge_after(end, grid))
    return (to_instant(first), to_instant(last_close)) if first < last_close else None


def before_hull(window: Window, extent: Extent) -> Window | None:
    """The part before the first verified instant. None if it is empty or nothing is verified."""
    return None if extent.verified_from is None else _window(window[0], min(window[1], extent.verified_from))


def within_hull(window: Window, extent: Extent) -> Window | None:
    """The part from the first to the last verified instant."""
    if extent.verified_from is None or extent.verified_until is None:
        return None
    return _window(max(window[0], extent.verified_from), min(window[1], extent.verified_until))


def after_hull(window: Window, extent: Extent) -> Window | None:
    """The part after the last verified instant. The whole window if nothing is verified."""
    start, end = window
    return _window(start if extent.verified_until is None else max(start, extent.verified_until), end)


def rest_of(window: Window, position: datetime | None) -> Window | None:
    """The part from `position` on; the whole window without a position."""
    start, end = window
    return _window(start if position is None else max(start, position), end)


def whole_periods(window: Window, grid: PeriodGrid) -> int:
    """The number of periods that lie completely in the window."""
    return grid.count(_up_to_millisecond(window[0]), to_milliseconds(window[1]))


def _window(start: datetime, end: datetime) -> Window | None:
    return (start, end) if start < end else None


def _edge_after(instant: datetime, grid: PeriodGrid) -> int:
    """The first edge at the instant or later, and after 1970: no exchange has older candles."""
    return grid.at_or_after(max(0, _up_to_millisecond(instant)))


def _up_to_millisecond(instant: datetime) -> int:
    """Milliseconds since the epoch, rounded up."""
    milliseconds = to_milliseconds(instant)
    return milliseconds + (to_instant(milliseconds) < instant)
