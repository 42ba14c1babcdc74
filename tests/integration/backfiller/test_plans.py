"""The plan of a series, from its ledger to its chunks, against real Postgres."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from backfiller.plans import plan_due_series, register_series
from backfiller.settings import BackfillerSettings
from contracts.coverage import to_instant
from contracts.spans import subtract
from support.backfilling.tables import chunks, store_config
from support.stored_ledgers import MINUTE, at, store_ledger, store_series

pytestmark = pytest.mark.postgres

SLIVERS = 250
"""More than a plan reads of the holes of one series."""


@pytest.mark.parametrize("minutes_apart", [1, 200])
async def test_holes_shorter_than_a_candle_get_no_chunk_and_delay_no_older_hole(
    engine: AsyncEngine, database_url: str, minutes_apart: int
) -> None:
    """Close together, they would fit into one page; far apart, each would be a page."""
    settings = BackfillerSettings(database_url=database_url, kafka_bootstrap_servers="unused:1")
    old = at(-60_500), at(-60_490)
    slivers = [(each, each + MINUTE // 2) for each in (at(n * minutes_apart - 60_000) for n in range(SLIVERS))]
    verified = subtract([(at(-61_000), at(0))], [old, *slivers])
    await store_ledger(engine, await store_series(engine), verified)
    await store_config(engine)
    await register_series(engine)
    planned = await plan_due_series(engine, settings.plan(), settings.plan_times())
    assert planned.created == 1
    assert await chunks(database_url, "starts_at, ends_at") == [tuple(map(to_instant, old))]
