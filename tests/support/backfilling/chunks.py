"""Chunks as they are in the database, and the policies of tests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from backfiller.chunks import Chunk, ChunkState
from backfiller.closing import ClosingPolicy
from backfiller.planning import Demand, PlanPolicy, Series
from contracts.ranges import Purpose
from contracts.spans import Interval, Intervals

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOON = int(NOW.timestamp()) * 1000
MINUTE = 60_000
WAIT = timedelta(minutes=15)
LEASE = timedelta(minutes=1)

CLOSING = ClosingPolicy(
    first_delay=timedelta(seconds=30),
    longest_delay=timedelta(hours=6),
    failed_delay=timedelta(days=1),
    ledger_wait=timedelta(seconds=20),
)
PLAN = PlanPolicy(pages=5, fresh_chunks=8, open_chunks=200)


def minutes(start: float, end: float) -> Interval:
    """A span in minutes after noon."""
    return NOON + int(start * MINUTE), NOON + int(end * MINUTE)


def a_series(page: int = 102, newest_readable: int | None = None, timeframe: str = "1m") -> Series:
    return Series(7, "binance", "BTC/USDT", timeframe, page, newest_readable)


def a_demand(target: Interval, missing: Intervals, verified_from: int | None = NOON, **changes: Any) -> Demand:
    demand = Demand(
        config_id=42,
        backfill_id=None,
        active=True,
        reread=False,
        target=target,
        missing=missing,
        verified_from=verified_from,
    )
    return demand._replace(**changes)


def a_chunk(span: Interval, **changes: Any) -> Chunk:
    chunk = Chunk(
        id=1,
        series_id=7,
        config_id=42,
        exchange="binance",
        symbol="BTC/USDT",
        timeframe="1m",
        purpose=Purpose.BACKFILL,
        backfill_id=None,
        span=span,
        state=ChunkState.WAITING,
        attempts=0,
        retries=0,
        next_attempt_at=NOW,
    )
    return replace(chunk, **changes)
