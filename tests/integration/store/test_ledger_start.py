"""Migration 0010 on a database with candles: the ledger starts from the stored candles."""

import random
from collections.abc import Iterable

import asyncpg
import pytest
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from contracts import spans
from contracts.coverage import to_instant, to_milliseconds
from contracts.timeframes import close_of, floor_open, shift
from store.migrate import alembic_config, upgrade
from support.databases import connected

pytestmark = pytest.mark.postgres

NOON = 1_795_348_800_000
MINUTE = 60_000
HOUR = 60 * MINUTE
MAX_SPANS = 64
"""The migration claims at most this many spans per series."""


@pytest.fixture
async def old_database(database_url: str) -> str:
    """A database of the release before the ledger."""

    def down(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0009")

    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    async with engine.connect() as connection:
        await connection.run_sync(down)
    await engine.dispose()
    return database_url


async def store(connection: asyncpg.Connection, timeframe: str, opens: Iterable[int]) -> int:
    """The id of a new series with candles that open at these milliseconds."""
    number = await connection.fetchval("SELECT count(*) FROM series")
    series: int = await connection.fetchval(
        "INSERT INTO series (exchange, symbol, timeframe) VALUES ('binance', $1, $2) RETURNING id",
        f"C{number}/USDT",
        timeframe,
    )
    await connection.execute(
        "INSERT INTO candles SELECT $1, opens, 1, 2, 0.5, 1.5, 10, now() FROM unnest($2::timestamptz[]) AS opens",
        series,
        [to_instant(each) for each in opens],
    )
    return series


async def ledger(connection: asyncpg.Connection) -> dict[int, spans.Intervals]:
    rows = await connection.fetch("SELECT series_id, verified FROM coverage")
    return {
        row["series_id"]: tuple((to_milliseconds(each.lower), to_milliseconds(each.upper)) for each in row["verified"])
        for row in rows
    }


def slots(timeframe: str, opens: Iterable[int]) -> spans.Intervals:
    return spans.union((each, close_of(timeframe, each)) for each in opens)


async def test_each_candle_verifies_its_own_slot_and_neighbours_merge(old_database: str) -> None:
    rng = random.Random(10)
    opens: dict[str, list[int]] = {}
    for timeframe in ("1m", "1s", "90m", "1d", "1w", "2w", "1M", "3M", "1y"):
        first = floor_open(timeframe, NOON - 400 * 24 * HOUR)
        opens[timeframe] = sorted(shift(timeframe, first, n) for n in rng.sample(range(60), 45))
    # Months of an exchange in another time zone, and a day that opens at another hour.
    opens["2M"] = [shift("2M", floor_open("2M", NOON), -n) - 8 * HOUR for n in (2, 3, 5)]
    opens["12h"] = [floor_open("12h", NOON) + n * 12 * HOUR - 4 * HOUR for n in (0, 1, 3)]
    async with connected(old_database) as connection:
        expected = {
            await store(connection, timeframe, of_series): slots(timeframe, of_series)
            for timeframe, of_series in opens.items()
        }
        await store(connection, "5m", [])
        await upgrade(old_database)
        assert await ledger(connection) == expected
    assert max(map(len, expected.values())) > 5


async def test_a_long_series_without_gaps_is_one_span(old_database: str) -> None:
    async with connected(old_database) as connection:
        series = await store(connection, "1m", range(NOON, NOON + 250_000 * MINUTE, MINUTE))
        await upgrade(old_database)
        assert await ledger(connection) == {series: ((NOON, NOON + 250_000 * MINUTE),)}


async def test_a_series_with_many_gaps_claims_only_its_newest_spans(old_database: str) -> None:
    opens = [NOON + n * MINUTE for n in range(150_000) if n % 3]
    async with connected(old_database) as connection:
        series = await store(connection, "1m", opens)
        await upgrade(old_database)
        assert await ledger(connection) == {series: slots("1m", opens)[-MAX_SPANS:]}
        assert await connection.fetchval("SELECT pg_column_size(verified) FROM coverage") < 2000


async def test_an_upgrade_that_was_interrupted_continues_with_the_other_series(old_database: str) -> None:
    async with connected(old_database) as connection:
        one, two = [await store(connection, "1m", [NOON, NOON + MINUTE]) for _ in range(2)]
        await upgrade(old_database, "0010")
        await connection.execute("UPDATE alembic_version SET version_num = '0009'")
        await connection.execute("DELETE FROM coverage WHERE series_id = $1", two)
        await upgrade(old_database, "0010")
        assert await ledger(connection) == dict.fromkeys((one, two), ((NOON, NOON + 2 * MINUTE),))
