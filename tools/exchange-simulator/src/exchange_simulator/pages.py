"""The rows that an exchange shows of the candles that exist: one pure function of a request.

A `Page` describes how an exchange differs from its dialect. Without one, every existing candle of the requested window
is shown, up to the limit.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from enum import StrEnum
from functools import reduce
from itertools import chain
from random import Random
from typing import Annotated, NamedTuple, Self

from pydantic import ConfigDict, Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from exchange_simulator.aggregate import Candle
from exchange_simulator.bad_rows import Variant, spoil, variant_in_turn
from exchange_simulator.history import Instant
from exchange_simulator.series import Row, Series, Span, Window, without
from exchange_simulator.synthetic import hash_number
from exchange_simulator.timeframes import DAY, FRAMES, HOUR, LAST_MS, MINUTE, Frame

Count = Annotated[int, Field(ge=0, le=1_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]
WriteRow = Callable[[Candle], Row]

_POSSIBLE = (None, Variant.DUPLICATE)
_LATE, _BAD, _ORDER = 1, 2, 3
"""The numbers that keep the random choices of different fields independent."""


class Since(StrEnum):
    HONOURED = "honoured"
    IGNORED = "ignored"
    """The newest rows are sent, for any start."""
    EXCLUSIVE = "exclusive"
    """The candle at `since` is not sent."""


class Order(StrEnum):
    USUAL = "usual"
    REVERSED = "reversed"
    SHUFFLED = "shuffled"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Page:
    """How an exchange answers requests for candles, and which trades it leaves out. All fields can be combined."""

    max_rows: Count | None = None
    """A reply has at most this number of rows, although the request and the documentation name more."""
    window_candles: Count | None = None
    """A request with a start covers at most this number of candle widths from there, whether they have rows or not."""
    since: Since = Since.HONOURED
    oldest_since: Instant = 0
    """The exchange refuses a request that starts before this time."""
    horizon: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """The exchange keeps only this number of newest rows. An older start is moved there without an error."""
    files: bool = False
    """A reply has the whole UTC day that contains the start, and nothing after it. Only `max_rows` limits it. Candles
    longer than an hour have one file per year."""
    newest_rows: bool = False
    """If the window has more rows than the limit, the newest are sent instead of the oldest."""
    overlap: Count = 0
    """A reply begins this number of candle widths before the requested start."""
    lag_minutes: Count = 0
    """The reply is this old: candles that closed later are missing."""
    lag_partial: bool = False
    """With `lag_minutes`: the last row is the candle that was open at that time, with the values of that time."""
    late_minutes: Count = 0
    """Some candles appear this long after they closed, and the ones after them in time."""
    late_share: Share = 1.0
    """With `late_minutes`: the share of such candles, chosen by the seed and the time of the candle."""
    hidden: tuple[tuple[Instant, Instant], ...] = ()
    """Candles that open in these ranges [start, end) are not sent, although they exist."""
    impossible: Variant | None = None
    """Some rows are replaced by rows that cannot be candles. The next three fields choose these rows."""
    impossible_share: Share = 0.0
    """The share of candles, chosen by the seed and the time of the candle, so that each reply has the same ones."""
    impossible_at: tuple[Instant, ...] = ()
    """The open times of the candles."""
    impossible_every: Count = 0
    """The first row of each reply and every n-th row after it. 0: none."""
    label_end: bool = False
    """Rows carry the end of the candle instead of its open time. Windows select by this label."""
    order: Order = Order.USUAL
    repeat_borders: bool = False
    """The first and the last row are sent twice."""
    missing_trades: tuple[int, ...] = ()
    """The ids of trades that replies with trades leave out."""
    falsified_trades: tuple[int, ...] = ()
    """The ids of trades that have a wrong price, a tick too high."""
    rows_of: str | None = None
    """The rows have this timeframe instead of the requested one."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.rows_of is not None and self.rows_of not in FRAMES:
            raise ValueError(f"rows_of must be one of {', '.join(FRAMES)}")
        if self.impossible and not (self.impossible_share or self.impossible_at or self.impossible_every):
            raise ValueError("impossible needs impossible_share, impossible_at or impossible_every")
        if any(start >= end for start, end in self.hidden):
            raise ValueError("a hidden range must end after it starts")
        return self


PAGES = TypeAdapter(Page)
AS_USUAL = Page()


class RefusedSinceError(Exception):
    """The exchange refuses the start of the request (`Page.oldest_since`)."""


class Shown(NamedTuple):
    rows: list[Row]
    """The rows in the order of the reply."""
    impossible: list[int]
    """The open times of the candles whose rows are impossible."""


def combined(pages: list[Page]) -> Page:
    """One page with the fields that any of them sets. A later page wins."""

    def add(base: Page, other: Page) -> Page:
        values = {field.name: getattr(other, field.name) for field in fields(Page)}
        return replace(base, **{name: value for name, value in values.items() if value != getattr(AS_USUAL, name)})

    return reduce(add, pages, AS_USUAL)


def show(series: Series, frame: Frame, asked: Window, page: Page, key: int, write: WriteRow) -> Shown:
    """The rows of a reply. `key` is the seed of the series for all random choices. Raises RefusedSinceError."""
    if asked.since_given and asked.start_ms < page.oldest_since:
        raise RefusedSinceError
    served = FRAMES[page.rows_of] if page.rows_of else frame
    window = asked
    for change in (_limit, _width, _start, _file, _label, _lag, _horizon):
        window = change(series, served, window, page)
    candles = _select(series, served, window, page, key)
    return _dress(candles, served, window, page, key, write)


def offered(series: Series, frame: Frame, span: Span, now_ms: int, page: Page, key: int) -> list[Candle]:
    """The candles in `span` that the exchange would send in reply to the right requests."""
    count = (span[1] - span[0]) // frame.shortest_ms + 1
    window = _lag(series, frame, Window(*span, max(count, 1), newest=False, now_ms=now_ms), page)
    return _select(series, frame, _horizon(series, frame, window, page), page, key)


def impossible_among(candles: list[Candle], frame: Frame, page: Page, key: int) -> list[Candle]:
    """The candles for which every reply has an impossible row."""
    # The second row of a reply: `impossible_every` never selects it, unless it selects all rows.
    return [candle for candle in candles if _variant(page, frame, 1, candle, key) not in _POSSIBLE]


def _limit(_series: Series, _frame: Frame, window: Window, page: Page) -> Window:
    limit = window.limit if page.max_rows is None else min(window.limit, page.max_rows)
    return window._replace(limit=limit, newest=window.newest or page.newest_rows)


def _start(_series: Series, frame: Frame, window: Window, page: Page) -> Window:
    if page.since is Since.IGNORED:
        return window._replace(start_ms=0, stop_ms=LAST_MS, newest=True, since_given=False)
    if not window.since_given:
        return window
    skipped = (page.since is Since.EXCLUSIVE) - page.overlap
    if not skipped:
        return window
    start = max(frame.plus(frame.ceil(window.start_ms), skipped), 0)
    return window._replace(start_ms=start, limit=window.limit + page.overlap)


def _file(_series: Series, frame: Frame, window: Window, page: Page) -> Window:
    if not page.files:
        return window
    start = window.start_ms if window.since_given else window.now_ms
    file = Frame("file", DAY) if frame.step_ms and frame.step_ms <= HOUR else Frame("file", months=12)
    begin = file.floor(start)
    end = file.plus(begin, 1)
    limit = window.limit if page.max_rows is not None else (end - begin) // frame.shortest_ms + 1
    return window._replace(start_ms=begin, stop_ms=end, limit=limit)


def _width(_series: Series, frame: Frame, window: Window, page: Page) -> Window:
    if page.window_candles is None or not window.since_given:
        return window
    end = frame.plus(frame.ceil(window.start_ms), page.window_candles)
    return window._replace(stop_ms=min(window.stop_ms, end))


def _label(_series: Series, frame: Frame, window: Window, page: Page) -> Window:
    """A label is the open time of the next candle, so the window of open times is one candle earlier."""
    if not page.label_end:
        return window
    start, stop = (max(frame.plus(frame.ceil(bound), -1), 0) for bound in (window.start_ms, window.stop_ms))
    return window._replace(start_ms=start, stop_ms=stop)


def _lag(_series: Series, _frame: Frame, window: Window, page: Page) -> Window:
    if not page.lag_minutes:
        return window
    now = max(window.now_ms - page.lag_minutes * MINUTE, 0)
    return window._replace(now_ms=now, closed_only=window.closed_only or not page.lag_partial)


def _horizon(series: Series, frame: Frame, window: Window, page: Page) -> Window:
    if page.horizon is None:
        return window
    everything = Window(0, LAST_MS, page.horizon, newest=True, now_ms=window.now_ms)
    kept = _select(series, frame, everything, AS_USUAL, 0)
    return window._replace(start_ms=max(window.start_ms, kept[0].open_ms if kept else 0))


def _select(series: Series, frame: Frame, window: Window, page: Page, key: int) -> list[Candle]:
    """The oldest or newest candles of the window. As on real exchanges, gaps do not count towards the limit."""
    if window.limit <= 0:
        return []
    stop = min(window.stop_ms, frame.floor(window.now_ms) if window.closed_only else window.now_ms + 1, series.span[1])
    parts = without((max(window.start_ms, frame.floor(series.span[0])), stop), page.hidden)
    pieces = [_pieces(frame, part, window) for part in (reversed(parts) if window.newest else parts)]
    found: list[Candle] = []
    for start, end in chain.from_iterable(pieces):
        some = series.candles(frame, start, end, window.now_ms)
        if page.late_minutes:
            some = [candle for candle in some if not _is_late(page, frame, window.now_ms, candle, key)]
        found = some + found if window.newest else found + some
        if len(found) >= window.limit:
            break
    return found[-window.limit :] if window.newest else found[: window.limit]


def _pieces(frame: Frame, part: Span, window: Window) -> Iterator[Span]:
    """Divide a part into pieces of `limit` candle widths, because it may be very long or without candles."""
    start, end = part
    while start < end:
        if window.newest:
            at = max(start, frame.plus(frame.floor(end - 1), 1 - window.limit))
            yield at, end
            end = at
        else:
            at = min(end, frame.plus(frame.ceil(start), window.limit))
            yield start, at
            start = at


def _is_late(page: Page, frame: Frame, now_ms: int, candle: Candle, key: int) -> bool:
    if now_ms >= frame.plus(candle.open_ms, 1) + page.late_minutes * MINUTE:
        return False
    return _chance(key, _LATE, candle.open_ms) < page.late_share


def _variant(page: Page, frame: Frame, number: int, candle: Candle, key: int) -> Variant | None:
    """The error in the row of a candle. `number` is the position of the row in the reply."""
    if page.impossible is None:
        return None
    if page.impossible_every and number % page.impossible_every == 0:
        return variant_in_turn(page.impossible, number // page.impossible_every)
    at = {frame.floor(instant) for instant in page.impossible_at}
    if candle.open_ms in at or _chance(key, _BAD, candle.open_ms) < page.impossible_share:
        return variant_in_turn(page.impossible, candle.open_ms // frame.shortest_ms)
    return None


def _chance(key: int, purpose: int, open_ms: int) -> float:
    """A number in [0, 1) that depends only on the seed, the series and the candle."""
    return (hash_number(key ^ purpose, open_ms) + 1) / 2


def _dress(candles: list[Candle], frame: Frame, window: Window, page: Page, key: int, write: WriteRow) -> Shown:
    """The rows of the candles, as the page changes them."""
    rows: list[Row] = []
    impossible: list[int] = []
    for number, candle in enumerate(candles):
        variant = _variant(page, frame, number, candle, key)
        rows += [write(candle)] if variant is None else spoil(write(candle), variant)
        if variant not in _POSSIBLE:
            impossible.append(candle.open_ms)
    if page.label_end:
        rows = [row._replace(open_ms=frame.plus(row.open_ms, 1)) for row in rows]
    if page.repeat_borders and rows:
        rows = [rows[0], *rows, rows[-1]]
    if window.newest_first != (page.order is Order.REVERSED):
        rows.reverse()
    if page.order is Order.SHUFFLED and rows:
        Random(key ^ _ORDER ^ rows[0].open_ms).shuffle(rows)
    return Shown(rows, impossible)
