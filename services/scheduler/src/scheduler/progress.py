"""The progress of series: where the next run of a timeframe continues, and which earlier spans are still to be read.
Pure.

Instants are milliseconds since the epoch, in UTC. One rule holds after every function: from the first anchor up to the
current one, every instant is verified by an answer or lies in a pending span. From the close of the anchor on, nothing
is known. So if an anchor and its pending spans are lost together, this costs more requests, but no candle is lost.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from itertools import pairwise
from sys import intern
from typing import Final, NamedTuple, Self

from contracts.bounds import MAX_INT
from contracts.coverage import (
    MAX_PENDING_SPANS,
    SETTLE_TIME,
    PendingSpan,
    SeriesProgress,
    to_instant,
    to_milliseconds,
)
from contracts.runs import TimeframeResult
from contracts.spans import Interval, intersect, subtract
from contracts.timeframes import DAY_MS, close_of, floor_open, longest_length

CLOCK_TOLERANCE_MS: Final = 5_000
"""The largest difference by which times from other machines may be ahead of this machine's clock."""
MAX_RETRY_WAIT_MS: Final = DAY_MS
_SETTLE_MS: Final = SETTLE_TIME // timedelta(milliseconds=1)
_MAX_DOUBLINGS: Final = 11
"""The most doublings of a wait. One minute, the shortest interval, is longer than a day after this number of
doublings.
"""


class Pending(NamedTuple):
    """A span that is still to be read."""

    start: int
    end: int
    attempts: int = 0
    """The number of runs that requested it without a result."""
    retry_at: int | None = None
    """No run requests the span before this time. None: the next run requests it."""

    @property
    def interval(self) -> Interval:
        return self.start, self.end

    def without_future(self, now: int) -> "Pending":
        """The span. If its retry time is further ahead than the longest wait, a clock was wrong, and the span becomes
        due at once.
        """
        is_wrong = self.retry_at is not None and self.retry_at > now + MAX_RETRY_WAIT_MS
        return self._replace(retry_at=None) if is_wrong else self


class Series(NamedTuple):
    """The progress of one timeframe of a config."""

    anchor: int | None = None
    """Open time of the collected candle at which the next run continues. None: no candle is known."""
    pending: tuple[Pending, ...] = ()
    """Ascending, without overlaps, at most `MAX_PENDING_SPANS`."""

    def is_later_than(self, other: Self) -> bool:
        return self.anchor is not None and (other.anchor is None or self.anchor > other.anchor)


UNKNOWN: Final = Series()


@dataclass(frozen=True, slots=True)
class Progress:
    """The series of one config by timeframe. Timeframes that the config no longer has are kept.

    The values are in parallel tuples, because an instance may own a hundred thousand configs, and nearly all of their
    series have no pending span. Build it with `progress_of`.
    """

    timeframes: tuple[str, ...] = ()
    anchors: tuple[int | None, ...] = ()
    pending: tuple[tuple[Pending, ...], ...] = ()
    """Empty if no series has a pending span."""

    def __iter__(self) -> Iterator[tuple[str, Series]]:
        for index, timeframe in enumerate(self.timeframes):
            yield timeframe, self._series(index)

    def of(self, timeframe: str) -> Series:
        return self._series(self.timeframes.index(timeframe)) if timeframe in self.timeframes else UNKNOWN

    def updated(self, series: Mapping[str, Series]) -> "Progress":
        """The progress with these values for these timeframes. Returns the same object if nothing changes."""
        changes = {timeframe: value for timeframe, value in series.items() if value != self.of(timeframe)}
        return progress_of({**dict(self), **changes}) if changes else self

    def latest_anchor(self) -> int:
        """The latest anchor of all timeframes; 0 if no timeframe has an anchor."""
        return max(filter(None, self.anchors), default=0)

    def _series(self, index: int) -> Series:
        return Series(self.anchors[index], self.pending[index] if self.pending else ())


NO_PROGRESS: Final = Progress()


@lru_cache(maxsize=4096)
def shared(timeframes: tuple[str, ...]) -> tuple[str, ...]:
    """The same object for equal tuples, to save memory: most configs use one of a few combinations of timeframes."""
    return tuple(map(intern, timeframes))


def progress_of(series: Mapping[str, Series]) -> Progress:
    known = {timeframe: series[timeframe] for timeframe in sorted(series) if series[timeframe] != UNKNOWN}
    if not known:
        return NO_PROGRESS
    anchors, pending = zip(*known.values(), strict=True)
    return Progress(timeframes=shared(tuple(known)), anchors=anchors, pending=pending if any(pending) else ())


# ---- after a result ----


def after_result(series: Series, result: TimeframeResult, *, finished_at: int, now: int, interval_ms: int) -> Series:
    """The progress after the result of a run, successful or failed. Results may arrive in any order, and more than
    once.

    The anchor only moves forward. The time between the old and the new anchor becomes pending, except for the spans
    that the answers vouch for. Requested time after the anchor becomes pending, so that the next run need not request
    it at once. All time before the old anchor is known, except for pending spans.
    """
    timeframe, before = result.timeframe, series.anchor
    reported = None if result.anchor is None else to_milliseconds(result.anchor)
    anchor = _later_anchor(series, result, now)
    verified = [] if reported is None else [span.milliseconds() for span in result.verified]
    if reported is not None and reported <= now:
        # Candles from the reported anchor on may have been unfinished, so runs read them again.
        verified = [*intersect(verified, [(0, reported)])]
    verified += [span.milliseconds() for span in result.lost]
    requested = intersect([span.milliseconds() for span in result.requested], [(0, now)])
    unread = [each.interval for each in series.pending]
    unread += subtract(requested, [] if anchor is None else [(0, close_of(timeframe, anchor))])
    if anchor is not None and anchor != before:
        # The candle of the old anchor is read again, because an exchange with a delay may have sent it unfinished.
        first = min(start for start, _ in [*verified, (anchor, anchor)]) if before is None else before
        unread.append((first, anchor))
    pieces = _pieces(subtract(unread, verified), series.pending, requested)
    tried_at = min(finished_at, now)
    return Series(anchor, bounded(_tried(piece, tried_at, interval_ms) if asked else piece for piece, asked in pieces))


def after_range(series: Series, result: TimeframeResult, *, finished_at: int, now: int) -> Series:
    """The progress after the result of a run of a range, successful or failed, in any order and more than once.

    Such a run reads a part of the history. It only removes time from the pending spans: the time that its answers vouch
    for, and the time that the exchange no longer offers. The anchor, the attempts and their retry times stay. Candles
    that were younger than the settle time may have been unfinished, so runs of the config read them again.
    """
    if not series.pending:
        return series
    settled = (0, min(finished_at, now) - _SETTLE_MS)
    known = [*intersect([span.milliseconds() for span in result.verified], [settled])]
    known += [span.milliseconds() for span in result.lost]
    left = subtract([each.interval for each in series.pending], known)
    return series._replace(pending=bounded(piece for piece, _ in _pieces(left, series.pending, ())))


def _later_anchor(series: Series, result: TimeframeResult, now: int) -> int | None:
    """The later one of the stored and the reported anchor. If the reported anchor is in the future, a clock is wrong.
    Then the current candle is used instead, which may be unverified.
    """
    if result.anchor is None:
        return series.anchor
    reported = to_milliseconds(result.anchor)
    reported = reported if reported <= now else floor_open(result.timeframe, now)
    return reported if series.anchor is None else max(series.anchor, reported)


def must_be_stored(before: Series, after: Series) -> bool:
    """Whether some time would never be read if this progress were lost.

    False if there was an anchor before: all time after it counts as unread, so the new anchor and its pending spans may
    be lost together. Without an anchor, nothing else records that the time since the first candle or request must be
    read.
    """
    if before.anchor is not None:
        return False
    new_spans = subtract([each.interval for each in after.pending], [each.interval for each in before.pending])
    return after.anchor is not None or bool(new_spans)


def bounded(spans: Iterable[Pending]) -> tuple[Pending, ...]:
    """Ascending and at most `MAX_PENDING_SPANS`: the closest neighbours become one span, with the time in between."""
    pieces = _joined(sorted(spans, key=lambda each: each.start))
    while len(pieces) > MAX_PENDING_SPANS:
        index = min(range(len(pieces) - 1), key=lambda each: _cost_of_merging(*pieces[each : each + 2]))
        one, other = pieces[index : index + 2]
        pieces[index : index + 2] = [_merged(one, other)]
    return tuple(_joined(pieces))


def _merged(one: Pending, other: Pending) -> Pending:
    """Both spans and the time in between. If a part was not requested yet, the next run requests all of it.

    If both spans were tried, the larger number of attempts is kept, because each attempt halves the step of the next
    one. The earlier retry time is kept. Otherwise each run could merge a new hole into the span and so delay its retry
    again and again.
    """
    if one.attempts == 0 or other.attempts == 0:
        return Pending(one.start, other.end)
    retries = [each.retry_at for each in (one, other) if each.retry_at is not None]
    return Pending(one.start, other.end, max(one.attempts, other.attempts), min(retries, default=None))


def _joined(spans: Iterable[Pending]) -> list[Pending]:
    """The spans, ascending. Neighbours that touch and have the same number of attempts are joined."""
    pieces: list[Pending] = []
    for piece in spans:
        if pieces and pieces[-1].end == piece.start and pieces[-1][2:] == piece[2:]:
            pieces[-1] = pieces[-1]._replace(end=piece.end)
        else:
            pieces.append(piece)
    return pieces


def _cost_of_merging(one: Pending, other: Pending) -> tuple[bool, int]:
    """Sort key of a merge. A span that no run has requested is merged with a tried span only if no other merge is
    possible. Otherwise runs would read the end of the merged span again and again, and never reach its start.
    """
    return (one.attempts == 0) != (other.attempts == 0), other.start - one.end


def _pieces(
    spans: Iterable[Interval], known: Iterable[Pending], requested: Iterable[Interval]
) -> Iterator[tuple[Pending, bool]]:
    """The spans, divided where their number of attempts may differ, and whether each piece was requested."""
    edges = sorted({edge for span in (*(each.interval for each in known), *requested) for edge in span})
    for start, end in spans:
        for one, other in pairwise([start, *(edge for edge in edges if start < edge < end), end]):
            source = next((each for each in known if each.start <= one and other <= each.end), Pending(one, other))
            yield source._replace(start=one, end=other), any(a <= one and other <= b for a, b in requested)


def _tried(piece: Pending, at: int, interval_ms: int) -> Pending:
    """The span after one more attempt. A repeated or late result changes nothing, because its attempt was counted
    before.
    """
    if piece.retry_at is not None and at <= piece.retry_at - _wait_ms(piece.attempts, interval_ms):
        return piece
    attempts = min(piece.attempts + 1, MAX_INT)
    return piece._replace(attempts=attempts, retry_at=at + _wait_ms(attempts, interval_ms))


def _wait_ms(attempts: int, interval_ms: int) -> int:
    return min(interval_ms << min(attempts, _MAX_DOUBLINGS), MAX_RETRY_WAIT_MS)


# ---- before a run ----


class ForTick(NamedTuple):
    """The progress that a tick carries."""

    series: Series
    behind_since: int | None = None
    """The anchor, if it is too old to continue from it. Otherwise None."""


def for_tick(timeframe: str, series: Series, *, now: int, limit_ms: int) -> ForTick:
    """The anchor and all pending spans. The run requests the spans that are due. It does not report the others as
    unread.

    If the anchor is further back than the limit, the tick has none, so that the run reads the newest page first. All
    time after the anchor is then pending. The stored series does not change until a result has a newer anchor.
    """
    anchor, pending = without_future(timeframe, series, now=now, limit_ms=limit_ms)
    carried = [each.without_future(now) for each in pending]
    if anchor is None:
        return ForTick(Series(None, tuple(carried)))
    if not is_behind(timeframe, anchor, now=now, limit_ms=limit_ms) and anchor == series.anchor:
        return ForTick(Series(anchor, tuple(carried)))
    unread = [(close_of(timeframe, anchor), floor_open(timeframe, now))]
    carried += [Pending(*span) for span in subtract(unread, [each.interval for each in pending])]
    return ForTick(Series(None, bounded(carried)), anchor)


def is_behind(timeframe: str, anchor: int, *, now: int, limit_ms: int) -> bool:
    """Whether the anchor's candle closed longer ago than the limit. One candle is added, because the newest closed
    candle may have opened two candles ago.
    """
    oldest = now - limit_ms
    return anchor < oldest and close_of(timeframe, anchor) < oldest - longest_length(timeframe)


def without_future(timeframe: str, series: Series, *, now: int, limit_ms: int) -> Series:
    """The series without an anchor in the future. A wrong clock caused such an anchor, and the real position is
    unknown. So the anchor becomes the time `limit_ms` before now, and runs read from there again.
    """
    if series.anchor is None or series.anchor <= now + CLOCK_TOLERANCE_MS:
        return series
    return series._replace(anchor=floor_open(timeframe, now - limit_ms))


# ---- events ----


def from_events(events: Iterable[SeriesProgress]) -> Progress:
    return progress_of({event.timeframe: _from_event(event) for event in events})


@lru_cache(maxsize=4096)
def to_event(timeframe: str, series: Series) -> SeriesProgress:
    return SeriesProgress(
        timeframe=timeframe,
        anchor=None if series.anchor is None else to_instant(series.anchor),
        pending=tuple(
            PendingSpan(
                start=to_instant(each.start),
                end=to_instant(each.end),
                attempts=each.attempts,
                retry_at=None if each.retry_at is None else to_instant(each.retry_at),
            )
            for each in series.pending
        ),
    )


def _from_event(event: SeriesProgress) -> Series:
    anchor = None if event.anchor is None else to_milliseconds(event.anchor)
    if not event.pending:
        return Series(anchor)  # this path must be fast, because a restore decodes every timeframe of every config
    pending = bounded(
        Pending(*each.milliseconds(), each.attempts, None if each.retry_at is None else to_milliseconds(each.retry_at))
        for each in event.pending
    )
    return Series(anchor, pending)
