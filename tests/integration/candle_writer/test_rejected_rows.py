"""The number of runs that saw a rejected row."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from candle_writer.series import SeriesIds
from candle_writer.write import write_candles
from contracts.candles import CandlesCollected
from contracts.coverage import RejectedRow
from support.fetches import NOON
from support.ledger_events import MINUTE, without_rows
from support.writers import query

pytestmark = pytest.mark.postgres


async def test_a_rejected_row_counts_runs_not_messages(engine: AsyncEngine, database_url: str) -> None:
    series, runs = SeriesIds(engine), [uuid4() for _ in range(3)]

    def rejected(second: float, run_id: UUID) -> CandlesCollected:
        row = RejectedRow(open_time=NOON, reason=f"seen at {second}", row="[1, 2]")
        return without_rows(second=second, run_id=run_id, rejected=(row, row))

    first, second, third = (rejected(second, run) for second, run in enumerate(runs))
    for batch in ([third], [first, first], [second, third, rejected(5, runs[0])], [first]):
        await write_candles(engine, series, batch)
    found = await query(
        database_url, "SELECT times, reason, first_seen, last_seen, run_id::text, symbol FROM rejected_candles, series"
    )
    assert found == [(3, "seen at 5", NOON + 60 * MINUTE, NOON + 60 * MINUTE + timedelta(seconds=5), str(runs[0]),
                      "BTC/USDT")]  # fmt: skip


async def test_a_rejected_row_counts_up_to_a_hundred_runs(engine: AsyncEngine, database_url: str) -> None:
    row = RejectedRow(open_time=NOON, reason="high below low", row="[]")
    events = [without_rows(second=second, run_id=uuid4(), rejected=(row,)) for second in range(130)]
    for batch in (events[:70], events[60:], events):
        await write_candles(engine, SeriesIds(engine), batch)
    found = await query(database_url, "SELECT times, cardinality(run_ids), last_seen FROM rejected_candles")
    assert found == [(100, 100, events[-1].fetched_at)]
