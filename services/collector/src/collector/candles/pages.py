"""One answer of an exchange: which rows are candles, which are rejected, and what the answer proves. Pure.

ccxt returns invalid rows without an error: rows of nulls, of NaN, or of the letters of an HTML page. Exchanges
themselves send candles whose open is below their low. One such row must not stop a series, so only this row is
rejected. But if most rows are invalid, the whole answer is unusable.
"""

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Any, Final

from collector.exchange.traits import ExchangeTraits
from contracts.bounds import END_OF_MILLISECONDS
from contracts.candles import NO_ACTIVITY, Activity, Candle
from contracts.spans import Intervals, subtract, union
from contracts.timeframes import DAY_MS, HOUR_MS, close_of, floor_open, parse_timeframe, shift

FUTURE_TOLERANCE_MS: Final = 60_000
"""How far a candle's open time may be ahead of the estimated time of the exchange."""

_WIDTH: Final = len(Candle._fields)
_WITH_ACTIVITY: Final = _WIDTH + len(Activity._fields)
_SEQUENCES: Final = (list, tuple)
_NUMBERS: Final = frozenset({float, int})
"""The types of the values of a row. A bool is no number."""
_FEWEST_TO_REFUSE: Final = 3
"""An answer with fewer rejected rows than this is usable, even if most of its rows are rejected."""

_OFFSET_UNIT_MS: Final = HOUR_MS // 4
"""Days of an exchange may begin at any quarter of an hour, because its time zone may have such an offset."""


class UnusableAnswer(ValueError):  # noqa: N818 -- the name states the problem
    """The answer as a whole does not contain candles of the requested timeframe."""


@dataclass(frozen=True)
class SeriesCalendar:
    """When the candles of a series open and close. All times are milliseconds since the epoch."""

    timeframe: str
    nominal_ms: int
    """The usual length of a candle."""
    length_ms: int | None
    """The length of every candle; None for calendar months and years."""

    @classmethod
    def of(cls, traits: ExchangeTraits, timeframe: str) -> "SeriesCalendar":
        """Raises `ValueError` for a text that is no timeframe."""
        parsed = parse_timeframe(timeframe)
        length = traits.candle_lengths.get(timeframe, parsed.fixed_ms)
        return cls(timeframe, length or parsed.nominal_ms, length)

    def shift(self, opens: int, count: int) -> int:
        """The open time `count` candles after the one that opens at `opens`; before it if `count` is negative."""
        if self.length_ms is not None:
            return opens + count * self.length_ms
        return max(0, shift(self.timeframe, opens, count)) if opens > 0 else 0

    def close_of(self, opens: int) -> int:
        """The time at which the candle that opens at `opens` ends."""
        return opens + self.length_ms if self.length_ms is not None else close_of(self.timeframe, opens)

    def floor_open(self, instant: int) -> int:
        """The open time of the candle that contains the instant, on the usual grid."""
        return floor_open(self.timeframe, instant)


@dataclass(frozen=True)
class BadRow:
    """A row that is not a valid candle. `opens` is its open time. If the row has none, the place of the row in the
    answer gives the open time.
    """

    opens: int
    reason: str
    row: str


@dataclass(frozen=True)
class Page:
    """The content of one answer. All fields are ascending, without duplicates."""

    opens: tuple[int, ...]
    """Open times of all rows, including rejected ones and the open candle."""
    closed: tuple[Candle, ...]
    """The closed candles, which do not change any more. Only these are stored."""
    rejected: tuple[BadRow, ...] = ()
    activity: Mapping[int, Activity] = field(default_factory=dict)
    """Open time to the trades and the quote volume, for closed candles whose row has one of them."""


def read_page(
    traits: ExchangeTraits,
    calendar: SeriesCalendar,
    rows: Iterable[object],
    *,
    since: int,
    now: int,
    is_time_confirmed: bool = True,
) -> Page:
    """Read the answer to a request for candles from `since` on, sent at `now` on the exchange's clock.

    Of the rows before `since`, only the last one is kept. It shows that the answer begins early enough. Rows may be in
    any order, and equal duplicates are allowed. The open candle needs a valid open time only.

    If no date of the exchange confirms `now`, it may be behind the exchange's clock. In this case, rows that open after
    `now` are not rejected, because they may be valid candles. They are read again after their close. Raises
    `UnusableAnswer`.
    """
    timed, without_time = _with_open_times(rows, calendar, label_shift=_label_shift(traits, calendar))
    opens = sorted({at for at, _ in timed})
    bad = [BadRow(at, "it has no open time", repr(row)[:500]) for at, row in without_time]
    grid = _Grid.learnt(traits, calendar, [at for at, _ in timed])
    candles: dict[int, Candle] = {}
    different: dict[int, set[Candle]] = {}
    for at, row in timed:
        candle = _candle(grid, at, row, now)
        if isinstance(candle, str):
            bad.append(BadRow(at, candle, _as_json(row)))
        elif candle is not None and (first := candles.setdefault(at, candle)) != candle:
            different.setdefault(at, {first}).add(candle)
    for at, found in different.items():
        del candles[at]
        bad += [BadRow(at, "another row of the same open time has other values", _as_json(each)) for each in found]
    _require_usable(bad, len(opens) + len(without_time), calendar)
    _require_distance(opens, calendar)
    if not is_time_confirmed:
        bad = [each for each in bad if each.opens <= now + FUTURE_TOLERANCE_MS]
    on_grid = [at for at in opens if at <= now + FUTURE_TOLERANCE_MS and grid.has(at)]
    activity = {
        at: values
        for at, row in timed
        if len(row) == _WITH_ACTIVITY and at in candles and (values := Activity(*row[_WIDTH:])) != NO_ACTIVITY
    }
    return _from_since(on_grid, candles, bad, since, activity)


def page_spans(calendar: SeriesCalendar, page: Page, *, settled_at: int) -> Intervals:
    """The spans that the answer vouches for: from its first row to the close of its last closed row.

    Silence between two rows is included if it is older than `settled_at`. The periods of rejected rows are not
    included.
    """
    if not page.closed:
        return ()
    stored = {candle.open_ms for candle in page.closed}
    span = (page.opens[0], calendar.close_of(page.closed[-1].open_ms))
    young = [
        (calendar.close_of(before), after)
        for before, after in pairwise(page.opens)
        if after > settled_at and after > calendar.close_of(before)
    ]
    rejected = [
        (calendar.floor_open(row.opens), calendar.close_of(row.opens))
        for row in page.rejected
        if row.opens not in stored
    ]
    if not young and not rejected:
        return (span,)
    own = [(at, calendar.close_of(at)) for at in stored]
    return union([*subtract([span], [*young, *rejected]), *own])


def is_consistent(candle: Candle) -> bool:
    """Whether prices are positive and finite, low <= open, close <= high, and the volume is not negative. False if a
    value is NaN.
    """
    _, opening, high, low, close, volume = candle
    return 0 < low <= opening <= high < inf and low <= close <= high and 0 <= volume < inf


def _label_shift(traits: ExchangeTraits, calendar: SeriesCalendar) -> int:
    return -1 if traits.labels_close and calendar.length_ms is not None else 0


def _with_open_times(
    rows: Iterable[object], calendar: SeriesCalendar, *, label_shift: int
) -> tuple[list[tuple[int, Sequence[Any]]], list[tuple[int, object]]]:
    """The rows with an open time from 1970 to 2199, and the other rows. Each of the other rows gets the open time that
    follows the previous row.
    """
    timed: list[tuple[int, Sequence[Any]]] = []
    without: list[tuple[int, object]] = []
    for row in rows:
        if isinstance(row, _SEQUENCES) and row and type(row[0]) is int:
            opens = row[0]
            if label_shift and 0 <= opens < END_OF_MILLISECONDS:
                opens = calendar.shift(opens, label_shift)
            if 0 <= opens < END_OF_MILLISECONDS:
                timed.append((opens, row))
                continue
        without.append((len(timed), row))
    if len(without) > len(timed) // 2:
        raise UnusableAnswer(f"{len(without)} rows without an open time, such as {without[0][1]!r:.100}")
    places = [calendar.shift(timed[max(0, at - 1)][0], 1 if at else -1) for at, _ in without]
    return timed, [
        (min(max(0, place), END_OF_MILLISECONDS - 1), row) for place, (_, row) in zip(places, without, strict=True)
    ]


def _candle(grid: "_Grid", at: int, row: Sequence[Any], now: int) -> Candle | str | None:
    """The candle of a row, or the reason why the row is not a candle. None for the open candle, which is not stored."""
    if at > now + FUTURE_TOLERANCE_MS:
        return f"it opens {(at - now) / 1000:.0f} s in the future"
    if not grid.has(at):
        return f"no {grid.calendar.timeframe} candle opens at this time"
    return _closed_candle(at, row) if grid.calendar.close_of(at) <= now else None


def _closed_candle(at: int, row: Sequence[Any]) -> Candle | str:
    if len(row) < _WIDTH:
        return f"it has fewer than {_WIDTH} values"
    numbers = row[1:_WIDTH]
    if not _NUMBERS.issuperset(map(type, numbers)):
        return "a value is not a number"
    try:
        candle = Candle(at, *map(float, numbers))
    except OverflowError:
        return "a number is too large"
    return candle if is_consistent(candle) else "its numbers are not finite or contradict each other"


@dataclass(frozen=True)
class _Grid:
    """The times at which candles may open: a constant offset for fixed lengths, calendar months otherwise."""

    calendar: SeriesCalendar
    offset: int
    tolerance: int

    @classmethod
    def learnt(cls, traits: ExchangeTraits, calendar: SeriesCalendar, opens: Sequence[int]) -> "_Grid":
        """A grid with the offset that most rows have. The grid of a timeframe that divides an hour begins at the epoch
        on every exchange.
        """
        length = calendar.length_ms
        if length is None:
            return cls(calendar, 0, 0 if traits.utc_days else DAY_MS)
        if length <= HOUR_MS and HOUR_MS % length == 0:
            return cls(calendar, 0, 0)
        if traits.utc_days and DAY_MS % length == 0:
            return cls(calendar, 0, 0)
        if traits.monday_weeks and length == 7 * DAY_MS:
            return cls(calendar, floor_open("1w", 0) % length, 0)
        offsets = Counter(at % length for at in opens if at % _OFFSET_UNIT_MS == 0)
        offset = offsets.most_common(1)[0][0] if offsets else 0
        return cls(calendar, offset, HOUR_MS if length >= DAY_MS and not traits.utc_days else 0)

    def has(self, at: int) -> bool:
        """Whether a candle may open at this time."""
        length = self.calendar.length_ms
        if length is None:
            nearest = min(abs(at - self.calendar.floor_open(at)), abs(at - close_of("1M", floor_open("1M", at))))
            return nearest <= self.tolerance and at % _OFFSET_UNIT_MS == 0
        distance = (at - self.offset) % length
        return distance == 0 or min(distance, length - distance) == self.tolerance


def _require_usable(bad: Sequence[BadRow], rows: int, calendar: SeriesCalendar) -> None:
    slots = len({row.opens for row in bad})  # count rows with the same open time once
    if slots >= _FEWEST_TO_REFUSE and slots > rows // 2:
        first = bad[0]
        raise UnusableAnswer(
            f"{slots} of {rows} rows are no {calendar.timeframe} candles; the row of {first.opens}: {first.reason}"
        )


def _require_distance(opens: Sequence[int], calendar: SeriesCalendar) -> None:
    """Raises `UnusableAnswer` if many rows are closer together than their length: they have another timeframe.

    A single row off the grid causes only two such pairs. This row is rejected, and the answer stays usable.
    """
    shortest = (calendar.length_ms or 28 * DAY_MS) - (2 * HOUR_MS if calendar.nominal_ms >= DAY_MS else 0)
    close = [after - before for before, after in pairwise(opens) if after - before < shortest]
    if len(close) > max(2, len(opens) // 4):
        raise UnusableAnswer(f"rows are {min(close) / 1000:.0f} s apart: they are no {calendar.timeframe} candles")


def _from_since(
    opens: list[int], candles: dict[int, Candle], bad: list[BadRow], since: int, activity: Mapping[int, Activity]
) -> Page:
    before = bisect_right(opens, since)
    first = opens[before - 1] if before else since
    kept = sorted(at for at in candles if at >= first)
    return Page(
        tuple(opens[max(0, before - 1) :]),
        tuple(candles[at] for at in kept),
        tuple(sorted((row for row in bad if row.opens >= first), key=lambda row: (row.opens, row.row))),
        {at: activity[at] for at in kept if at in activity},
    )


def _as_json(row: Sequence[Any]) -> str:
    return json.dumps(row, default=repr)[:500]
