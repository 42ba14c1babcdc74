"""The progress of a backfill, from its targets and the chunks that the backfiller writes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.backfills.estimates import Target
from admin_api.backfills.schemas import ChunkCounts, Progress, WaitReason
from contracts.coverage import to_instant
from contracts.timeframes import parse_timeframe

RATE_WINDOW: Final = timedelta(minutes=15)
_MAX_REASONS: Final = 10

_COUNTS: Final = sa.text("""
SELECT state, count(*) AS chunks, min(next_attempt_at) AS next_attempt_at
FROM backfill_chunks WHERE backfill_id = :id GROUP BY state
""")

# This reads only the chunks that ended in the window, and the time since the first of them was created.
_ENDED: Final = sa.text("""
SELECT timeframe, sum(extract(epoch FROM ends_at - starts_at))::float8 AS seconds, min(chunk.created_at) AS began
FROM backfill_chunks AS chunk JOIN series ON series.id = chunk.series_id
WHERE backfill_id = :id AND state IN ('verified', 'classified') AND ended_at > :since GROUP BY timeframe
""")

_REASONS: Final = sa.text("""
SELECT state, error_class, max(reason) AS reason, count(*) AS chunks FROM backfill_chunks
WHERE backfill_id = :id AND state IN ('waiting', 'failed') AND reason IS NOT NULL
GROUP BY state, error_class ORDER BY chunks DESC, state, error_class LIMIT :most
""")


@dataclass(frozen=True)
class ChunkFacts:
    """The facts from the chunks of a backfill."""

    counts: Mapping[str, int] = field(default_factory=dict)
    next_attempt_at: datetime | None = None
    ended: Mapping[str, float] = field(default_factory=dict)
    """The total length in seconds of the spans that ended in the window, by timeframe."""
    began: datetime | None = None
    """The creation time of the first of these chunks."""
    reasons: Sequence[WaitReason] = ()


async def read_chunks(connection: AsyncConnection, backfill_id: int, now: datetime) -> ChunkFacts:
    values: dict[str, Any] = {"id": backfill_id}
    states = (await connection.execute(_COUNTS, values)).all()
    ended = (await connection.execute(_ENDED, values | {"since": now - RATE_WINDOW})).all()
    reasons = (await connection.execute(_REASONS, values | {"most": _MAX_REASONS})).all()
    return ChunkFacts(
        counts={row.state: row.chunks for row in states},
        next_attempt_at=next((row.next_attempt_at for row in states if row.state == "waiting"), None),
        ended={row.timeframe: row.seconds for row in ended},
        began=min((row.began for row in ended), default=None),
        reasons=[
            WaitReason(state=row.state, error_class=row.error_class, reason=row.reason, chunks=row.chunks)
            for row in reasons
        ],
    )


def progress_of(targets: Sequence[Target], chunks: ChunkFacts, now: datetime, *, active: bool) -> Progress:
    """Pure. `active`: whether the backfill is neither paused nor cancelled."""
    total = sum(each.candles for each in targets)
    missing = sum(each.missing_candles for each in targets)
    rate = _rate(chunks, now)
    eta = None
    if active and missing and rate:
        seconds = missing / rate
        # A date after the year 9999 cannot be written.
        eta = now + timedelta(seconds=seconds) if seconds < timedelta(days=365_000).total_seconds() else None
    return Progress(
        percent=percent_of(total, missing),
        is_whole=bool(total) and not missing,
        candles=total,
        missing_candles=missing,
        reached=_reached(targets),
        candles_per_second=rate,
        eta=eta,
        chunks=ChunkCounts(**chunks.counts),
        next_attempt_at=chunks.next_attempt_at,
        reasons=list(chunks.reasons),
    )


def percent_of(candles: int, missing: int) -> float | None:
    """The answered share with two decimals, rounded down. None if there are no candles."""
    return math.floor(10_000 * (candles - missing) / candles) / 100 if candles else None


def _rate(chunks: ChunkFacts, now: datetime) -> float | None:
    """Candles per second. If the backfill is younger than the window, the window is shortened to its age."""
    if chunks.began is None:
        return None
    seconds = min(RATE_WINDOW, max(now - chunks.began, timedelta(seconds=1))).total_seconds()
    lengths = {timeframe: parse_timeframe(timeframe).nominal_ms / 1000 for timeframe in chunks.ended}
    return sum(each / lengths[timeframe] for timeframe, each in chunks.ended.items()) / seconds


def _reached(targets: Sequence[Target]) -> datetime | None:
    ends = []
    for each in targets:
        if each.span is not None:
            length = parse_timeframe(each.timeframe).nominal_ms
            holes = [end for start, end in each.missing if end - start >= length]
            ends.append(max(holes, default=each.span[0]))
    return to_instant(max(ends)) if ends else None
