"""Spans to read on request. Topic `range-requests`, keyed by lane and co-partitioned with `ticks`, so that the same
collector owns the rate limit of the exchange.
"""

from enum import StrEnum
from typing import Literal
from uuid import UUID, uuid5

from pydantic import Field
from typing_extensions import override

from contracts.bounds import MAX_DEADLINE, Count, RowId
from contracts.coverage import Span
from contracts.event import Event, Instant
from contracts.vocabulary import ExchangeId, JobType, Lane, Symbol, Timeframe

_RANGE_NAMESPACE = UUID("0b1f9e0a-6f0c-4a36-8d0e-5a2e4a7a9c12")


class Purpose(StrEnum):
    """The reason why a span is requested."""

    BACKFILL = "backfill"
    """History that the start date of a config or a backfill of a person requires."""
    REPAIR = "repair"
    """A hole between verified spans."""
    REREAD = "reread"
    """Candles that were read shortly after their close. They are read again, because some exchanges change them
    later.
    """
    EVIDENCE = "evidence"
    """Evidence for the absence of candles in the span."""
    AUDIT = "audit"
    """Stored candles, which are compared with the exchange's candles again."""
    TRADES = "trades"
    """History for which the exchange has no candles any more. It is built from the exchange's trades because a person
    requested this.
    """

    @property
    def job_type(self) -> JobType:
        """The job type of its runs in the run log."""
        return JobType.BACKFILL if self in {Purpose.BACKFILL, Purpose.TRADES} else JobType.REPAIR


class RangeDue(Event):
    """The backfiller requests a span of one series. The event contains all that a collector needs for the run."""

    type: Literal["RangeDue"] = "RangeDue"
    run_id: UUID = Field(description="Computed from chunk and attempt: a second publication gives the same run.")
    chunk_id: RowId = Field(description="The chunk in backfill_chunks.")
    attempt: Count = Field(description="The number of earlier requests of this chunk.")
    config_id: RowId = Field(description="The config that collects the series.")
    exchange: ExchangeId
    symbol: Symbol
    timeframe: Timeframe
    span: Span = Field(description="The span to read.")
    purpose: Purpose = Field(description="The reason for the request.")
    verified_from: Instant | None = Field(
        default=None,
        description="The first verified instant of the series. If a span for evidence ends at or before it, the market "
        "may have been listed then. Null: it is not known.",
    )
    requested_at: Instant = Field(description="When the backfiller requested this attempt.")
    deadline_seconds: int = Field(
        gt=0,
        le=int(MAX_DEADLINE.total_seconds()),
        description="The longest time that the run may take after its start, in seconds.",
    )
    lane: Lane = Field(description="The exchange id, plus #n if the exchange has more than one lane.")

    @override
    def key(self) -> str:
        return self.lane


def range_run_id(chunk_id: int, attempt: int) -> UUID:
    """The id of the run of an attempt of a chunk."""
    return uuid5(_RANGE_NAMESPACE, f"{chunk_id}#{attempt}")
