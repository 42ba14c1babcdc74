"""How connections of the pool are tested before use."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.database import build_engine
from runtime.settings import DatabaseSettings
from support.polling import eventually

pytestmark = pytest.mark.postgres
QUERY = sa.text("SELECT 7")


@pytest.fixture
async def engine_with(database_url: str) -> AsyncIterator[Callable[[float], AsyncEngine]]:
    """A pool of one connection, which is tested if its last test is this number of seconds ago."""
    engines = []

    def build(tested_every: float) -> AsyncEngine:
        settings = DatabaseSettings(database_url=SecretStr(database_url))
        engines.append(build_engine(settings, pool_size=1, tested_every=tested_every))
        return engines[-1]

    yield build
    for engine in engines:
        await engine.dispose()


@asynccontextmanager
async def driver_of(engine: AsyncEngine) -> AsyncIterator[Any]:
    async with engine.connect() as connection:
        yield (await connection.get_raw_connection()).driver_connection


async def use(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await connection.scalar(QUERY) == 7


@pytest.mark.parametrize(("tested_every", "tests"), [(0.0, 3), (3600.0, 1)])
async def test_a_connection_is_tested_by_one_statement_and_not_again_within_the_interval(
    engine_with: Callable[[float], AsyncEngine], tested_every: float, tests: int
) -> None:
    engine = engine_with(tested_every)
    statements: list[str] = []
    async with driver_of(engine) as driver:
        driver.add_query_logger(lambda query: statements.append(query.query))
    for _ in range(3):
        await use(engine)
    assert statements.count("SELECT 1") == tests
    assert statements.count(";") == 0


@pytest.mark.parametrize("tested_every", [0.0, 3600.0])
async def test_a_connection_that_postgres_has_closed_is_replaced(
    engine_with: Callable[[float], AsyncEngine], tested_every: float, database_url: str
) -> None:
    engine = engine_with(tested_every)
    await use(engine)
    async with driver_of(engine) as driver:
        process = driver.get_server_pid()
    admin = await asyncpg.connect(database_url)
    try:
        await admin.execute("SELECT pg_terminate_backend($1)", process)
    finally:
        await admin.close()
    await eventually(driver.is_closed)
    await use(engine)
