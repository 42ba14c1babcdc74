"""Stores chunks as the backfiller does it, for tests of the readers."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.coverage import to_instant
from contracts.spans import Interval
from store.tables import backfill_chunks


async def store_chunks(engine: AsyncEngine, series_id: int, spans: Sequence[Interval], **values: Any) -> None:
    """One waiting chunk per span, in milliseconds since the epoch. `values` are columns of all of them."""
    rows = [
        {
            "series_id": series_id,
            "config_id": 1,
            "exchange": "binance",
            "purpose": "backfill",
            "starts_at": to_instant(start),
            "ends_at": to_instant(end),
            "next_attempt_at": to_instant(end),
        }
        | values
        for start, end in spans
    ]
    async with engine.begin() as connection:
        await connection.execute(sa.insert(backfill_chunks), rows)
