"""The knowledge about a series: verified spans, absent spans, and rejected rows.

A series is one timeframe of one symbol on one exchange. Only answers prove coverage; the clock, the config and metadata
do not. An answer vouches for the time from a known candle up to the close of its last closed candle.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, StringConstraints, TypeAdapter, model_validator

from contracts.bounds import STORABLE, Count
from contracts.event import Instant, Model
from contracts.spans import Interval
from contracts.timeframes import floor_open, shift
from contracts.vocabulary import Timeframe

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_INSTANT: Final = TypeAdapter(Instant)

SETTLE_TIME: Final = timedelta(minutes=10)
"""Silence that is younger than this is not verified yet, because exchanges publish candles of quiet minutes late. Each
run reads it again. The collector's setting `settle_minutes` can change this.
"""

MAX_PENDING_SPANS: Final = 16
"""The scheduler remembers at most this many spans to read per series. The ledger of candle-writer has no such limit."""

MAX_SPANS_PER_RESULT: Final = 200
"""A run's result names at most this number of spans per list and timeframe, so that it fits into a Kafka message."""

MAX_REJECTED_ROWS_PER_RESULT: Final = 20
"""A run's result names at most this many rows. The event with the candles contains all of them."""


class Span(Model):
    """A half-open interval of time of one series: from `start` up to, but not including, `end`."""

    start: Instant = Field(description="The first instant of the span, the open time of a candle.")
    end: Instant = Field(description="The first instant after the span, the close time of a candle.")

    @model_validator(mode="after")
    def _start_is_before_end(self) -> Self:
        if self.start >= self.end:
            raise ValueError("start must be before end")
        return self

    def milliseconds(self) -> Interval:
        """Start and end in milliseconds since the epoch."""
        return to_milliseconds(self.start), to_milliseconds(self.end)


class AbsenceClass(StrEnum):
    """The reason why a span is not verified."""

    UNREAD = "unread"
    """Not requested yet: the run reached its limit of pages or its deadline, or the exchange failed."""
    UNPROVEN = "unproven"
    """Requested, but the answers do not show whether candles exist there: they were empty or began later."""
    REJECTED = "rejected"
    """The exchange repeats rows that cannot be candles."""
    LOST = "lost"
    """The exchange no longer offers candles of this age. This is known from its documentation."""


WHOLE_CLASSES: Final[frozenset[AbsenceClass]] = frozenset()
"""No candle of these spans exists, so that a series with them is whole."""

ANSWERED_CLASSES: Final = WHOLE_CLASSES | {AbsenceClass.LOST}
"""The final classes: the exchange can add nothing. Rejected rows are not final, because the exchange can correct them.

The daily counts of candle-writer contain these two sets. If a release changes them, its migration empties
`series_counts`, so that all series are counted again.
"""


GONE_CLASSES: Final = frozenset({AbsenceClass.LOST})
"""The exchange has no candles of these spans, but it may have trades."""


class Absence(Span):
    """A span that could not be verified, with the reason and the evidence."""

    absence_class: AbsenceClass = Field(description="The reason why the span is not verified.")
    evidence: Annotated[str, STORABLE, StringConstraints(min_length=1, max_length=500)] = Field(
        description="The answers or limits behind it, in words."
    )


class PendingSpan(Span):
    """A span of a series that is still to be read."""

    attempts: Count = Field(default=0, description="The number of runs that requested it without a result.")
    retry_at: Instant | None = Field(
        default=None, description="Runs do not request it before this time. Null: the next run requests it."
    )


class SeriesProgress(Model):
    """The progress of one timeframe of a config: where the next run continues, and what is still to be read before."""

    timeframe: Timeframe
    anchor: Instant | None = Field(
        default=None,
        description="Open time of a collected candle, from which the next run reads on. Null: no candle is known yet.",
    )
    pending: tuple[PendingSpan, ...] = Field(
        default=(),
        max_length=MAX_PENDING_SPANS,
        description="Spans that are still to be read, in ascending order. The newest of them comes first in a run.",
    )


class RejectedRow(Model):
    """A row that cannot be a candle. The exchange sent it more than once."""

    open_time: Instant = Field(description="The open time in the row.")
    reason: Annotated[str, STORABLE, StringConstraints(min_length=1, max_length=300)] = Field(
        description="The reason why it is not a candle, in words."
    )
    row: Annotated[str, STORABLE, StringConstraints(max_length=500)] = Field(
        description="The row as ccxt parsed it, as JSON."
    )


def to_milliseconds(instant: datetime) -> int:
    """Milliseconds since the epoch, rounded down."""
    return (instant - _EPOCH) // _MILLISECOND


def to_instant(milliseconds: int) -> datetime:
    """The aware datetime, in UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def span_of(interval: Interval) -> Span:
    """Raises `ValueError` if the interval is empty."""
    return Span(start=to_instant(interval[0]), end=to_instant(interval[1]))


def progress_of_version_1(timeframes: object, covered_until: object) -> tuple[SeriesProgress, ...]:
    """The progress of a schedule whose events of version 1 had one covered time for all timeframes.

    In version 1, all candles before the one that contains this time had been read. Raises `ValueError` for
    values that are no timeframes or no time.
    """
    if not isinstance(timeframes, list | tuple) or not all(isinstance(each, str) for each in timeframes):
        raise ValueError("timeframes is not a list of texts")
    covered = to_milliseconds(_INSTANT.validate_python(covered_until))
    return tuple(
        SeriesProgress(timeframe=each, anchor=to_instant(shift(each, floor_open(each, covered), -1)))
        for each in timeframes
    )
