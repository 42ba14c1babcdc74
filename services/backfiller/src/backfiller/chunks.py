"""Chunks: spans of a series that are requested in one run each. Their states, and how a request changes them. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from contracts.ranges import Purpose, range_run_id
from contracts.spans import Interval


class ChunkState(StrEnum):
    """The state of a chunk."""

    WAITING = "waiting"
    """The chunk is requested at `next_attempt_at` or later."""
    REQUESTED = "requested"
    """The request of the chunk is published. The run has not ended, or its candles are not in the ledger yet."""
    VERIFIED = "verified"
    CLASSIFIED = "classified"
    """The span is verified, except for absences of a final class."""
    FAILED = "failed"
    """The exchange refuses the chunk for a reason that does not end by itself. It is still tried again, but rarely."""
    CANCELLED = "cancelled"


OPEN_STATES: Final = frozenset({ChunkState.WAITING, ChunkState.REQUESTED, ChunkState.FAILED})
"""The states of chunks that have not ended. No other chunk of the series overlaps the span of such a chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A row of `backfill_chunks`."""

    id: int
    series_id: int
    config_id: int
    exchange: str
    symbol: str
    timeframe: str
    purpose: Purpose
    backfill_id: int | None
    span: Interval
    state: ChunkState
    attempts: int
    """The number of attempts that have ended."""
    retries: int
    """The number of attempts since the last attempt that verified a part of the chunk."""
    next_attempt_at: datetime
    loss_at: datetime | None = None
    """The time at which the exchange stops offering the oldest candle of the chunk. None if this is unknown or has
    happened already.
    """
    lane: str | None = None
    run_id: UUID | None = None
    claimed_until: datetime | None = None
    requested_at: datetime | None = None
    answered_at: datetime | None = None
    deadline_at: datetime | None = None
    reason: str | None = None
    error_class: str | None = None
    ended_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    @property
    def in_flight(self) -> bool:
        """Whether the chunk still waits for the result of its latest run, or for the storage of its candles."""
        return self.is_open and (self.state is ChunkState.REQUESTED or self.claimed_until is not None)

    @property
    def outstanding(self) -> bool:
        """Whether a collector may be working on the chunk. The limits on chunks count such chunks."""
        return self.in_flight and self.answered_at is None


def claimed(chunk: Chunk, lane: str, now: datetime, lease: timedelta, wait: timedelta) -> Chunk:
    """The chunk while its request is being published. After the lease, another backfiller may publish the same run.
    After the wait, the attempt counts as ended without a result.
    """
    run_id = range_run_id(chunk.id, chunk.attempts)
    return replace(chunk, lane=lane, run_id=run_id, claimed_until=now + lease, requested_at=now, deadline_at=now + wait)


def requested(chunk: Chunk, run_id: UUID, now: datetime, wait: timedelta) -> Chunk:
    """The chunk after Kafka has acknowledged its request. Nothing changes if the start or the end of the run was
    reported earlier.
    """
    if not chunk.is_open or chunk.claimed_until is None or chunk.run_id != run_id:
        return chunk
    return replace(
        chunk,
        state=ChunkState.REQUESTED,
        claimed_until=None,
        requested_at=now,
        answered_at=None,
        deadline_at=now + wait,
    )


def started(chunk: Chunk, run_id: UUID, deadline: datetime, grace: timedelta) -> Chunk:
    """The chunk with the deadline of its run, which has started. If the run has not ended by then, its collector has
    probably crashed. The start also proves that Kafka has the request.
    """
    if not chunk.outstanding or chunk.run_id != run_id:
        return chunk
    return replace(chunk, state=ChunkState.REQUESTED, claimed_until=None, deadline_at=deadline + grace)
