"""Stores series and their ledger as candle-writer does it, for tests of the readers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.coverage import to_instant, to_milliseconds
from contracts.spans import Interval
from store.tables import absences, coverage, rejected_candles, series

NOON = to_milliseconds(datetime(2026, 11, 22, 12, tzinfo=UTC))
MINUTE = 60_000
BTC = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m"}
RUN_ID = UUID("00000000-0000-0000-0000-00000000000a")
CHECKED = datetime.fromisoformat("2026-11-22T12:00:00Z")


def at(minutes: float) -> int:
    """Minutes after noon, in milliseconds since the epoch."""
    return NOON + int(minutes * MINUTE)


def iso(milliseconds: int) -> str:
    """The time as the API writes it."""
    return to_instant(milliseconds).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class AbsentSpan:
    """An absence, in milliseconds since the epoch."""

    start: int
    end: int
    absence_class: str = "unread"
    recheck_at: int | None = None


async def store_series(engine: AsyncEngine, first: int | None = None, last: int | None = None, **names: str) -> int:
    """A series with two candles that open at `first` and `last`, in milliseconds since the epoch. Returns its id."""
    values: dict[str, Any] = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m"} | names
    if first is not None and last is not None:
        values |= {"first_open": to_instant(first), "last_open": to_instant(last), "candle_count": 2}
    async with engine.begin() as connection:
        return int((await connection.execute(sa.insert(series).values(values).returning(series.c.id))).scalar_one())


async def store_ledger(
    engine: AsyncEngine, series_id: int, verified: Iterable[Interval] = (), absent: Sequence[AbsentSpan] = ()
) -> None:
    """Replaces the ledger of a series."""
    spans = [Range(to_instant(start), to_instant(end)) for start, end in verified]
    rows = [
        {
            "series_id": series_id,
            "starts_at": to_instant(each.start),
            "ends_at": to_instant(each.end),
            "absence_class": each.absence_class,
            "evidence": f"evidence for {each.absence_class}",
            "first_seen": CHECKED,
            "last_checked": CHECKED,
            "run_id": RUN_ID,
            "recheck_at": None if each.recheck_at is None else to_instant(each.recheck_at),
        }
        for each in absent
    ]
    async with engine.begin() as connection:
        for table in (coverage, absences):
            await connection.execute(sa.delete(table).where(table.c.series_id == series_id))
        if spans:
            values = {"series_id": series_id, "verified": spans, "updated_at": CHECKED}
            await connection.execute(sa.insert(coverage).values(values))
        if rows:
            await connection.execute(sa.insert(absences), rows)


async def store_rejected(engine: AsyncEngine, series_id: int, rows: Iterable[tuple[int, str]]) -> None:
    """Rejected rows, each with its open time in milliseconds and its text."""
    values = [
        {
            "series_id": series_id,
            "open_time": to_instant(opens),
            "row": row,
            "reason": "the high is below the low",
            "first_seen": CHECKED,
            "last_seen": CHECKED,
            "times": 2,
            "run_id": RUN_ID,
            "run_ids": [RUN_ID],
        }
        for opens, row in rows
    ]
    async with engine.begin() as connection:
        await connection.execute(sa.insert(rejected_candles), values)
