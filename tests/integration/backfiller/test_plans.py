"""The plan of a series, from its ledger to its chunks, against real Postgres."""

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from backfiller.plans import plan_due_series, register_series
from backfiller.settings import BackfillerSettings
from contracts.coverage import to_instant
from contracts.spans import subtract
from support.backfilling.tables import chunks, store_backfill, store_config
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


async def test_a_new_backfill_requests_a_waiting_chunk_of_its_range_at_once_and_only_once(
    engine: AsyncEngine, database_url: str
) -> None:
    settings = BackfillerSettings(database_url=database_url, kafka_bootstrap_servers="unused:1")
    holes = [(at(-60_600), at(-60_590)), (at(-300), at(-290))]  # too far apart for one chunk
    await store_ledger(engine, await store_series(engine), subtract([(at(-61_000), at(0))], holes))
    config_id = await store_config(engine)
    await register_series(engine)

    async def planned_again() -> list[bool]:
        """Whether each chunk is requested at once."""
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE series_plans SET next_plan_at = now()"))
        await plan_due_series(engine, settings.plan(), settings.plan_times())
        return [due for (due,) in await chunks(database_url, "next_attempt_at <= clock_timestamp()")]

    async def attempt_and_wait() -> None:
        later = "requested_at = clock_timestamp(), retries = 3, next_attempt_at = now() + interval '6 hours'"
        async with engine.begin() as connection:
            await connection.execute(text(f"UPDATE backfill_chunks SET {later}"))

    assert len(await planned_again()) == len(holes)
    await attempt_and_wait()
    assert await planned_again() == [False, False]
    start, end = map(to_instant, holes[1])
    await store_backfill(engine, start, end, config_id=config_id)
    # The newest hole has the first chunk.
    assert await planned_again() == [True, False]
    await attempt_and_wait()
    assert await planned_again() == [False, False]
