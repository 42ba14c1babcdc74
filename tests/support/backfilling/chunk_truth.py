"""The truth of a series, minute by minute, for the state machine of chunks. It shares no code with the planner."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from backfiller.chunks import Chunk
from contracts.spans import Interval, Intervals, union
from contracts.vocabulary import ErrorClass
from support.backfilling.chunks import MINUTE, NOON, minutes


class Run(NamedTuple):
    """A published request."""

    run_id: UUID
    series_id: int
    minutes: frozenset[int]
    for_evidence: bool


class Result(NamedTuple):
    run_id: UUID
    error: ErrorClass | None
    proved: Intervals


@dataclass
class Truth:
    """One series, minute by minute after the start of the target."""

    provable: set[int]
    lost: set[int]
    silent: set[int] = field(default_factory=set)
    """Only evidence proves that these have no candle."""
    unknown: set[int] = field(default_factory=set)
    """Stored as unknown, and not asked for evidence yet."""
    stored: set[int] = field(default_factory=set)
    stored_lost: set[int] = field(default_factory=set)
    wanted_from: int = 0
    enabled: bool = True
    backfill: tuple[int, int] = (0, 0)
    """The first minute and the end of the newest backfill of the series; empty: there is none."""
    backfill_id: int = 0
    backfill_state: str = "cancelled"
    reread: bool = False


def to_spans(numbers: set[int] | frozenset[int]) -> Intervals:
    return union(minutes(number, number + 1) for number in numbers)


def to_minutes(chunk: Chunk) -> frozenset[int]:
    return minutes_in(chunk.span)


def minutes_in(span: Interval) -> frozenset[int]:
    return frozenset(range((span[0] - NOON) // MINUTE, (span[1] - NOON) // MINUTE))


def minutes_of(chunks: Iterable[Chunk]) -> set[int]:
    return {minute for chunk in chunks for minute in to_minutes(chunk)}
