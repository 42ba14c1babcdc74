"""The values that describe the coverage of a series: verified spans, absent spans, and rejected rows.

A series is one timeframe of one symbol on one exchange. Only answers prove coverage; the clock, the config and metadata
do not. An answer vouches for the time from a known candle up to the close of its last closed candle.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final, Self
from uuid import UUID

from pydantic import Field, GetJsonSchemaHandler, StringConstraints, TypeAdapter, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import override

from contracts.bounds import STORABLE, Count
from contracts.event import Instant, Model
from contracts.spans import Interval
from contracts.timeframes import floor_open, shift
from contracts.vocabulary import Timeframe

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_INSTANT: Final = TypeAdapter(Instant)

SETTLE_TIME: Final = timedelta(minutes=10)
"""Silence (time without a candle) that is younger than this is not verified yet, because exchanges publish candles of
quiet minutes late. Each run reads it again. The collector's setting `settle_minutes` can change this.
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
    """The reason why a span has no candles. The order of the members matters: see `candle_writer.ledger.Check`."""

    UNREAD = "unread"
    """The span was not requested yet: the run reached its limit of pages or its deadline, or the exchange failed."""
    UNKNOWN = "unknown"
    """The span was requested, but nothing proves whether candles exist there: the answers were empty or began later."""
    REJECTED = "rejected"
    """The exchange repeats rows that cannot be candles."""
    BEYOND_HORIZON = "beyond_horizon"
    """The exchange no longer offers candles of this age. This is known from its documentation."""
    BEFORE_LISTING = "before_listing"
    """The exchange did not trade the symbol yet."""
    DELISTED = "delisted"
    """The exchange no longer traded the symbol."""
    NO_TRADE = "no_trade"
    """The exchange traded, and there was no trade of this symbol."""
    OUTAGE = "outage"
    """The exchange did not trade any symbol."""
    LOST_AT_SOURCE = "lost_at_source"
    """The exchange traded, but it has no candles of this time."""

    @classmethod
    @override
    def _missing_(cls, value: object) -> "AbsenceClass | None":
        """The class of a name that earlier releases wrote into events and into the ledger."""
        return _EARLIER_NAMES.get(value) if isinstance(value, str) else None

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema also accepts events of earlier releases."""
        document = handler.resolve_ref_schema(handler(schema))
        document["enum"] = [*(each.value for each in cls), *_EARLIER_NAMES]
        return document


_EARLIER_NAMES: Final = {"unproven": AbsenceClass.UNKNOWN, "lost": AbsenceClass.BEYOND_HORIZON}

WHOLE_CLASSES: Final = frozenset({AbsenceClass.NO_TRADE, AbsenceClass.OUTAGE})
"""The classes of spans in which no candle exists. A series with such absences is whole."""

ANSWERED_CLASSES: Final = WHOLE_CLASSES | {
    AbsenceClass.BEFORE_LISTING,
    AbsenceClass.DELISTED,
    AbsenceClass.LOST_AT_SOURCE,
    AbsenceClass.BEYOND_HORIZON,
}
"""The final classes. The exchange cannot add anything to spans of these classes, so they are not requested again.
Rejected rows are not final, because the exchange can correct them. A provisional absence, which has a `recheck_at`, is
requested again at that time. Until another answer replaces it, it is treated like any other absence of its class.

The daily counts of candle-writer contain these two sets. If a release changes them, its migration empties
`series_counts`, so that all series are counted again.
"""

MINIMUM_LEVELS: Final = MappingProxyType(
    {
        AbsenceClass.UNREAD: 0,
        AbsenceClass.UNKNOWN: 0,
        AbsenceClass.REJECTED: 0,
        AbsenceClass.BEYOND_HORIZON: 0,
        AbsenceClass.BEFORE_LISTING: 3,
        AbsenceClass.DELISTED: 3,
        AbsenceClass.NO_TRADE: 3,
        AbsenceClass.OUTAGE: 6,
        AbsenceClass.LOST_AT_SOURCE: 7,
    }
)
"""The lowest level of evidence that each class needs. See `Evidence` for the levels."""

Level = Annotated[int, Field(ge=0, le=7)]


def names_of(classes: Collection[AbsenceClass]) -> list[str]:
    """The names of these classes in the ledger, including the names of earlier releases, ascending."""
    earlier = [name for name, each in _EARLIER_NAMES.items() if each in classes]
    return sorted([*(each.value for each in classes), *earlier])


class EvidenceKind(StrEnum):
    """The kind of a piece of evidence."""

    ANSWER = "answer"
    """An answer of the candle endpoint, such as an empty list."""
    NEIGHBOURS = "neighbours"
    """Candles on both sides in one answer of an exchange that omits minutes without trades."""
    COARSER_CANDLE = "coarser_candle"
    """The candle of the next coarser timeframe, compared with the sum of the finer ones."""
    TRADE_IDS = "trade_ids"
    """The trades around the span, by their ids."""
    ALL_SYMBOLS = "all_symbols"
    """The candles of the other symbols of the exchange."""
    WITNESS = "witness"
    """A source outside the candle endpoint: the exchange's status, or another exchange."""
    MARKETS = "markets"
    """The exchange's list of markets."""


class Evidence(Model):
    """One request and its answer, which help to decide whether candles of a span exist.

    Levels: 0: not requested. 1: one or more requests, and no answer had rows. 2: requested again with other borders
    of the page. 3: rows on both sides in one answer, or a statement of the exchange about the symbol. 4: the next
    coarser candle equals the sum of the finer ones. 5: contiguous trade ids. 6: all symbols are silent, and a witness
    says that the exchange was closed. 7: all symbols are silent, and a witness shows that the exchange traded.
    """

    level: Level = Field(description="The level on the ladder of evidence, from 0 to 7.")
    kind: EvidenceKind = Field(description="The source.")
    asked: Annotated[str, STORABLE, StringConstraints(max_length=300)] = Field(description="The request, in words.")
    answered: Annotated[str, STORABLE, StringConstraints(max_length=300)] = Field(
        description="The answer, in words and numbers."
    )
    at: Instant = Field(description="The time of the answer.")
    run_ids: tuple[UUID, ...] = Field(default=(), max_length=20, description="The runs that asked.")


GONE_CLASSES: Final = frozenset({AbsenceClass.BEYOND_HORIZON, AbsenceClass.LOST_AT_SOURCE})
"""The classes of spans for which the exchange has no candles, but may have trades."""


class Absence(Span):
    """A span that could not be verified, with the reason and the evidence."""

    absence_class: AbsenceClass = Field(description="The reason why the span is not verified.")
    evidence: Annotated[str, STORABLE, StringConstraints(min_length=1, max_length=500)] = Field(
        description="The answers or limits behind it, in words."
    )
    level: Level = Field(default=0, description="The level of the evidence. Each class needs a minimum level.")
    proof: tuple[Evidence, ...] = Field(default=(), max_length=8, description="The requests and answers behind it.")
    recheck_at: Instant | None = Field(
        default=None, description="When the span is to be checked again. Null: at no certain time."
    )

    @model_validator(mode="after")
    def _the_class_has_its_minimum_level(self) -> Self:
        if self.level < (needed := MINIMUM_LEVELS[self.absence_class]):
            raise ValueError(f"{self.absence_class.value} needs evidence of level {needed} or higher")
        return self


class PendingSpan(Span):
    """A span of a series that is still to be read."""

    attempts: Count = Field(default=0, description="The number of runs that requested it without a result.")
    retry_at: Instant | None = Field(
        default=None, description="Runs do not request it before this time. Null: the next run requests it."
    )


class SeriesProgress(Model):
    """The progress of one timeframe of a config: where the next run continues, and which earlier spans are still to be
    read.
    """

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
    """The time as a datetime with the time zone UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def span_of(interval: Interval) -> Span:
    """Raises `ValueError` if the interval is empty."""
    return Span(start=to_instant(interval[0]), end=to_instant(interval[1]))


def progress_of_version_1(timeframes: object, covered_until: object) -> tuple[SeriesProgress, ...]:
    """The progress of a schedule whose events of version 1 had one covered time for all timeframes.

    In version 1, all candles before the one that contains this time had been read. Raises `ValueError` if a value is
    not a valid timeframe or time.
    """
    if not isinstance(timeframes, list | tuple) or not all(isinstance(each, str) for each in timeframes):
        raise ValueError("timeframes is not a list of texts")
    covered = to_milliseconds(_INSTANT.validate_python(covered_until))
    return tuple(
        SeriesProgress(timeframe=each, anchor=to_instant(shift(each, floor_open(each, covered), -1)))
        for each in timeframes
    )
