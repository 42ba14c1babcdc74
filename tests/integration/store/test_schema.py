import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from alembic import autogenerate, command
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from store.migrate import alembic_config, head_revision, upgrade
from store.schema import SchemaOutOfDate, ensure_current
from store.statistics_tables import metadata
from support.shared_data import shared_file

pytestmark = pytest.mark.postgres


def _engine(database_url: str) -> AsyncEngine:
    return create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://", 1))


@pytest.fixture
async def empty_database(postgres: object, database_url: str) -> str:
    """The database of the test, without tables."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()
    return database_url


async def test_the_migrations_create_the_declared_tables(database_url: str) -> None:
    def leftovers(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(autogenerate.compare_metadata(context, metadata))

    engine = _engine(database_url)
    async with engine.connect() as connection:
        assert await connection.run_sync(leftovers) == []
        # The comparison finds a difference if there is one.
        await connection.execute(text("ALTER TABLE series ADD COLUMN surprise integer"))
        assert len(await connection.run_sync(leftovers)) == 1
    await engine.dispose()


async def test_all_migrations_can_be_downgraded_and_upgraded_again(database_url: str) -> None:
    def down_and_up(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        command.upgrade(config, "head")

    engine = _engine(database_url)
    async with engine.connect() as connection:
        await connection.run_sync(down_and_up)
    await ensure_current(engine)
    await engine.dispose()


async def test_concurrent_upgrades_run_one_after_the_other(empty_database: str) -> None:
    await asyncio.gather(*(upgrade(empty_database) for _ in range(3)))
    engine = _engine(empty_database)
    await ensure_current(engine)
    await engine.dispose()


async def test_an_empty_schema_is_refused_with_the_command_to_run_and_a_newer_one_is_accepted(
    empty_database: str,
) -> None:
    engine = _engine(empty_database)
    with pytest.raises(SchemaOutOfDate, match=r"empty.*python -m store upgrade"):
        await ensure_current(engine)
    await upgrade(empty_database)
    await ensure_current(engine)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'from-the-future'"))
    await ensure_current(engine)
    await engine.dispose()


async def test_the_command_upgrades_and_checks_and_explains_errors(empty_database: str) -> None:
    async def store(*arguments: str, url: str = empty_database) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "store", *arguments,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "DATABASE_URL": url},
        )  # fmt: skip
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    code, output = await store("check")
    assert (code, "python -m store upgrade" in output) == (1, True), output
    code, output = await store("upgrade")
    assert (code, head_revision() in output) == (0, True), output
    assert (await store("check"))[0] == 0
    code, output = await store("check", url="mysql://nowhere")
    assert (code, "DATABASE_URL" in output, "Traceback" in output) == (2, True, False), output
    code, output = await store("upgrade", url="postgresql://user@127.0.0.1:1/missing")
    assert (code, "DATABASE_URL" in output, "Traceback" in output) == (1, True, False), output


async def test_the_queries_of_the_guide_work_unchanged(database_url: str) -> None:
    guide = shared_file("guide.md").read_text()
    queries = re.findall(r"```sql\n(.*?)```", guide, re.DOTALL)
    assert len(queries) == 4
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        """
        INSERT INTO job_execution_logs (job_name, job_type, symbol, exchange, started_at, finished_at, duration_seconds,
            status, records_collected, run_id, config_id, trigger, scheduled_for)
        SELECT 'collect_data_1', 'data_collection', 'BTC/USDT', 'binance', now() - age, now() - age, 2.0,
            CASE WHEN n = 3 THEN 'failed' ELSE 'success' END, 10, gen_random_uuid(), 1, 'scheduled', now() - age
        FROM unnest(ARRAY['1 hour', '2 hours', '3 hours', '40 days']::interval[]) WITH ORDINALITY AS runs(age, n)
        """
    )
    top, failures, exchanges, cleanup = queries
    row = await connection.fetchrow(top)
    assert (row["symbol"], row["executions"], row["total_records"]) == ("BTC/USDT", 3, 30)
    assert round(row["success_rate"]) == 67
    assert [failed["status"] for failed in await connection.fetch(failures)] == ["failed"]
    assert [dict(line) for line in await connection.fetch(exchanges)] == [
        {"exchange": "binance", "avg_duration": 2.0, "total_records": 40}
    ]
    assert await connection.execute(cleanup) == "DELETE 1"
    await connection.close()


async def test_sql_can_read_job_id_and_the_view_ohlcv(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    job_id = await connection.fetchval(
        "INSERT INTO data_collection_configs (symbol, exchange, timeframes, interval_minutes, enabled) "
        "VALUES ('BTC/USDT', 'binance', ARRAY['1m'], 5, true) RETURNING job_id"
    )
    assert job_id == f"collect_data_{await connection.fetchval('SELECT id FROM data_collection_configs')}"
    await connection.execute(
        "WITH s AS (INSERT INTO series (exchange, symbol, timeframe) "
        "VALUES ('binance', 'BTC/USDT', '1m') RETURNING id) "
        "INSERT INTO candles SELECT id, '2026-11-22T10:00:00Z', 1, 2, 0.5, 1.5, 10, now() FROM s"
    )
    query = "SELECT close FROM ohlcv WHERE exchange = 'binance' AND symbol = 'BTC/USDT' AND timeframe = '1m'"
    assert await connection.fetchval(query) == 1.5
    await connection.close()


async def test_only_one_config_can_claim_a_timeframe_of_a_symbol(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    for _ in range(2):
        await connection.execute(
            "INSERT INTO data_collection_configs (symbol, exchange, timeframes, interval_minutes, enabled) "
            "VALUES ('BTC/USDT', 'binance', ARRAY['1m'], 5, true)"
        )
    first, second = [row["id"] for row in await connection.fetch("SELECT id FROM data_collection_configs ORDER BY id")]
    claim = "INSERT INTO config_timeframes VALUES ('binance', 'BTC/USDT', '1m', $1)"
    await connection.execute(claim, first)
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute(claim, second)
    await connection.execute("DELETE FROM data_collection_configs WHERE id = $1", first)
    await connection.execute(claim, second)
    await connection.close()


def test_the_comment_of_every_table_names_the_service_that_writes_it() -> None:
    services = {path.name for path in (Path(__file__).parents[3] / "services").iterdir()}
    for table in metadata.tables.values():
        written_by = re.search(r"Written by ([a-z-]+)", table.comment or "")
        assert written_by, table.name
        assert written_by.group(1) in services
