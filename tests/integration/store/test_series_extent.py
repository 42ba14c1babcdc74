"""Migration 0005 on a database with candles."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from store.migrate import alembic_config

pytestmark = pytest.mark.postgres

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CANDLES = """
INSERT INTO candles SELECT series.id, $1::timestamptz + n * interval '1 minute', 1, 2, 0.5, 1.5, 10, now()
FROM series, generate_series(1, series.id) AS n WHERE symbol <> 'EMPTY/USDT'
"""


async def migrate(database_url: str, revision: str) -> None:
    def to(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        (command.downgrade if revision == "0004" else command.upgrade)(config, revision)

    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    async with engine.connect() as connection:
        await connection.run_sync(to)
    await engine.dispose()


async def test_the_candles_of_existing_series_are_counted(database_url: str) -> None:
    await migrate(database_url, "0004")
    connection = await asyncpg.connect(database_url)
    for symbol in ("A/USDT", "EMPTY/USDT", "B/USDT"):
        await connection.execute(
            "INSERT INTO series (exchange, symbol, timeframe) VALUES ('binance', $1, '1m')", symbol
        )
    await connection.execute(CANDLES, NOON)
    await connection.close()
    await migrate(database_url, "head")
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("SELECT symbol, candle_count, first_open, last_open FROM series ORDER BY id")
    await connection.close()
    first = NOON + timedelta(minutes=1)
    assert [tuple(row) for row in rows] == [
        ("A/USDT", 1, first, first),
        ("EMPTY/USDT", 0, None, None),
        ("B/USDT", 3, first, NOON + timedelta(minutes=3)),
    ]
