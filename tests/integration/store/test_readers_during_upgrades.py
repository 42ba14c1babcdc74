"""An upgrade of a running system lets everybody read: no reader waits for a lock for longer than a second."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from alembic import autogenerate
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine

from store import migrate
from store.migrate import alembic_config, head_revision, upgrade
from store.statistics_tables import metadata
from support.databases import connected
from support.later_release import a_later_release
from support.polling import eventually

pytestmark = pytest.mark.postgres

LONGEST_WAIT = "1s"
READ = {
    "job_execution_logs": "SELECT status FROM job_execution_logs ORDER BY started_at DESC, id DESC LIMIT 5",
    "candles": "SELECT close FROM candles WHERE series_id = 1 ORDER BY open_time DESC LIMIT 5",
    "series": "SELECT symbol FROM series ORDER BY id LIMIT 5",
    "data_collection_configs": "SELECT symbol FROM data_collection_configs ORDER BY id LIMIT 5",
}
FILL = """
INSERT INTO job_execution_logs (job_name, job_type, symbol, exchange, started_at, finished_at, duration_seconds,
    status, records_collected, metadata, run_id, config_id, trigger, scheduled_for)
SELECT 'collect_data_' || n % 2000, 'data_collection', 'C' || n % 400 || '/USDT', 'exchange' || n % 5, at, at,
    n % 700 / 300.0, CASE WHEN n % 25 = 0 THEN 'failed' ELSE 'success' END, n % 30,
    '{"timeframes": ["1m", "5m", "1h"], "timeframes_collected": 3}', md5(n::text)::uuid, n % 2000, 'scheduled', at
FROM generate_series(1, 200000) AS n, LATERAL (SELECT now() - n * interval '12 seconds' AS at) AS times;
INSERT INTO series (exchange, symbol, timeframe)
SELECT 'binance', 'C' || n || '/USDT', '1m' FROM generate_series(1, 10) n;
INSERT INTO candles SELECT id, '2026-01-01Z'::timestamptz + n * interval '1 minute', 1, 2, 0.5, 1.5, 10, now()
FROM series, generate_series(1, 30000) AS n;
INSERT INTO data_collection_configs (symbol, exchange, timeframes, interval_minutes, enabled)
SELECT 'C' || n || '/USDT', 'binance', ARRAY['1m'], 10, true FROM generate_series(1, 2000) AS n;
ANALYZE
"""
UPGRADE_WAITS = """
SELECT count(*) > 0 FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'store-upgrade' AND wait_event_type = 'Lock'
"""
INVALID_INDEXES = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"

OLD_FORM_OF_0005_AND_0006 = """
ALTER TABLE series ADD COLUMN candle_count BIGINT DEFAULT '0' NOT NULL;
ALTER TABLE series ADD COLUMN first_open TIMESTAMP WITH TIME ZONE;
ALTER TABLE series ADD COLUMN last_open TIMESTAMP WITH TIME ZONE;
CREATE INDEX ix_series_symbol_exchange_timeframe ON series (symbol, exchange, timeframe);
ALTER TABLE series SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
LOCK TABLE candles IN SHARE MODE;
UPDATE series SET candle_count = held.candles, first_open = held.first_open, last_open = held.last_open
FROM (
  SELECT series_id, count(*) AS candles, min(open_time) AS first_open, max(open_time) AS last_open
  FROM candles GROUP BY series_id
) AS held
WHERE held.series_id = series.id;
DROP INDEX ix_job_execution_logs_symbol_started_at_id;
CREATE INDEX ix_job_execution_logs_symbol ON job_execution_logs (symbol, started_at, id, exchange, status);
DROP INDEX ix_job_execution_logs_exchange_started_at_id;
CREATE INDEX ix_job_execution_logs_exchange ON job_execution_logs (exchange, started_at, id, status);
DROP INDEX ix_job_execution_logs_job_name_started_at_id;
CREATE INDEX ix_job_execution_logs_job_name ON job_execution_logs (job_name, started_at, id, status);
DROP INDEX ix_job_execution_logs_job_type_started_at_id;
CREATE INDEX ix_job_execution_logs_job_type ON job_execution_logs (job_type, started_at, id)
  INCLUDE (exchange, symbol, status, records_collected, duration_seconds);
CREATE INDEX ix_job_execution_logs_exchange_unsuccessful ON job_execution_logs (exchange, status, started_at, id)
  WHERE status IN ('failed', 'skipped');
CREATE INDEX ix_data_collection_configs_symbol_id ON data_collection_configs (symbol, id);
CREATE INDEX ix_data_collection_configs_exchange_id ON data_collection_configs (exchange, id);
CREATE INDEX ix_data_collection_configs_created_at_id ON data_collection_configs (created_at, id);
CREATE INDEX ix_data_collection_configs_updated_at_id ON data_collection_configs (updated_at, id);
COMMENT ON COLUMN series.candle_count IS
  'Kept in the transaction that stores the candles, so exact: counting millions takes seconds.';
COMMENT ON COLUMN series.first_open IS 'Null: no candle yet.';
UPDATE alembic_version SET version_num = '0006'
"""


def revisions() -> list[str]:
    """Oldest first."""
    found = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    return [script.revision for script in found][::-1]


@pytest.fixture
async def empty_database(database_url: str) -> str:
    async with connected(database_url) as connection:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return database_url


@pytest.fixture
async def filled_database(empty_database: str) -> str:
    """A database at the first revision, with enough rows that an index on the run log takes its time."""
    await upgrade(empty_database, revisions()[0])
    async with connected(empty_database) as connection:
        await connection.execute(FILL)
    return empty_database


@asynccontextmanager
async def readers(database_url: str) -> AsyncIterator[None]:
    """Read each table again and again. Raises asyncpg's `LockNotAvailableError` if one read waits too long for a lock;
    Postgres measures that, so a busy machine is no reason.
    """
    done = asyncio.Event()

    async def read(query: str) -> None:
        async with connected(database_url, lock_timeout=LONGEST_WAIT) as connection:
            while not done.is_set():
                await connection.fetch(query)
                await asyncio.sleep(0.01)

    reading = [asyncio.create_task(read(query)) for query in READ.values()]
    try:
        yield
    finally:
        done.set()
        await asyncio.gather(*reading)


@asynccontextmanager
async def slow_users(database_url: str) -> AsyncIterator[None]:
    """A report and a batch of candles run when the upgrade begins. They take their time if it waits for them."""
    upgraded = asyncio.Event()

    async def work(statement: str, began: asyncio.Event) -> None:
        async with connected(database_url) as connection, connected(database_url) as look:

            async def is_awaited_or_not_needed() -> bool:
                return upgraded.is_set() or bool(await look.fetchval(UPGRADE_WAITS))

            for _ in range(2):
                async with connection.transaction():
                    await connection.execute(statement)
                    began.set()
                    await eventually(is_awaited_or_not_needed, within=120)
                    if not upgraded.is_set():
                        await connection.execute("SELECT pg_sleep(1.5)")

    tables = ", ".join(f"(SELECT FROM {table} LIMIT 1) AS {table}" for table in READ)
    statements = (f"SELECT FROM {tables}", "UPDATE candles SET close = 1 WHERE series_id = 1 AND open = 0")
    begun = [asyncio.Event() for _ in statements]
    working = [asyncio.create_task(work(*each)) for each in zip(statements, begun, strict=True)]
    try:
        await asyncio.gather(*(event.wait() for event in begun))
        yield
    finally:
        upgraded.set()
        await asyncio.gather(*working)


async def leftovers(database_url: str) -> list[Any]:
    """How the database differs from the tables of this code, and its invalid indexes."""
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://", 1))

    def differences(connection: sa.Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(autogenerate.compare_metadata(context, metadata))

    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
        found += (await connection.execute(sa.text(INVALID_INDEXES))).scalars().all()
    await engine.dispose()
    return found


async def test_no_reader_waits_longer_than_a_second_for_an_upgrade(
    filled_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow users work while each migration begins."""
    monkeypatch.setattr(migrate, "_PAUSE_SECONDS", 0.1)
    for revision in revisions()[1:]:
        async with readers(filled_database), slow_users(filled_database):
            await upgrade(filled_database, revision)
    assert await leftovers(filled_database) == []


@pytest.mark.parametrize(
    "blocking",
    [
        'op.execute("DROP INDEX ix_job_execution_logs_symbol"); op.execute("SELECT pg_sleep(2)")',
        'op.add_column("series", sa.Column("later", sa.Text())); op.execute("SELECT pg_sleep(2)")',
    ],
)
async def test_a_migration_that_keeps_readers_waiting_is_noticed(
    database_url: str, tmp_path: Path, blocking: str
) -> None:
    with pytest.raises(asyncpg.LockNotAvailableError):
        async with readers(database_url):
            await upgrade(database_url, config=a_later_release(tmp_path / "versions", blocking))


async def test_an_index_whose_build_was_interrupted_is_built_again(empty_database: str) -> None:
    await upgrade(empty_database, "0005")
    async with connected(empty_database) as user, connected(empty_database) as look:
        write = user.transaction()
        await write.start()
        await user.execute("LOCK TABLE job_execution_logs IN ROW EXCLUSIVE MODE")  # the build waits for us
        upgrading = asyncio.create_task(upgrade(empty_database))
        await eventually(lambda: look.fetch(INVALID_INDEXES))
        upgrading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upgrading
        await write.rollback()
        assert await look.fetchval(INVALID_INDEXES) == "ix_job_execution_logs_symbol"
        assert await look.fetchval("SELECT version_num FROM alembic_version") == "0005"
    await upgrade(empty_database)
    assert await leftovers(empty_database) == []


async def test_a_database_that_was_upgraded_by_the_old_form_of_the_migrations_is_accepted(empty_database: str) -> None:
    await upgrade(empty_database, "0004")
    async with connected(empty_database) as connection, connection.transaction():
        await connection.execute(OLD_FORM_OF_0005_AND_0006)
    await upgrade(empty_database)
    assert await leftovers(empty_database) == []


BLOCKING = {
    r"CREATE (UNIQUE )?INDEX (?!CONCURRENTLY).* ON (?P<table>\w+)": "store.online_indexes.create_index builds it "
    "while others write",
    r"DROP INDEX (?!CONCURRENTLY)": "store.online_indexes.drop_index drops it while others read",
    r"LOCK TABLE (?P<table>\w+)( IN ACCESS EXCLUSIVE MODE)?$": "lock it IN SHARE ROW EXCLUSIVE MODE, which lets others "
    "read",
    r"ALTER TABLE (?P<table>\w+) ALTER (COLUMN )?\w+ (SET DATA )?TYPE": "add a column of the new type instead",
    r"ALTER TABLE (?P<table>\w+) ADD (CONSTRAINT|CHECK|UNIQUE|PRIMARY|FOREIGN)(?!.*NOT VALID)": "add it NOT VALID, and "
    "validate it in a transaction of its own",
    r"ALTER TABLE (?P<table>\w+) ADD COLUMN.*(GENERATED|SERIAL|DEFAULT (random|gen_random_uuid|nextval))": (
        "it rewrites the table: add the column without a value and fill it in batches"
    ),
    r"(CLUSTER|VACUUM FULL|TRUNCATE)\b": "no reader can use the table meanwhile",
    r"REINDEX(?!.*CONCURRENTLY)": "REINDEX CONCURRENTLY lets others write",
}


def blocking_statements(statements: list[str], tables: set[str]) -> list[str]:
    """Those that keep readers or writers of these tables out for as long as the work takes, and what to do instead."""
    found = []
    for statement in statements:
        for pattern, instead in BLOCKING.items():
            match = re.match(pattern, " ".join(statement.split()), re.IGNORECASE)
            if match and match.groupdict().get("table", "any") in tables | {"any"}:
                found.append(f"{statement}: {instead}")
    return found


@contextmanager
def statements_recorded() -> Iterator[list[str]]:
    statements: list[str] = []

    def record(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", record)


async def blocking_in_upgrade(database_url: str, revision: str, config: Config | None = None) -> list[str]:
    async with connected(database_url) as connection:
        rows = await connection.fetch("SELECT relname FROM pg_class WHERE relkind = 'r'")
    with statements_recorded() as statements:
        await upgrade(database_url, revision, config)
    assert statements
    return blocking_statements(statements, {row["relname"] for row in rows})


async def test_no_migration_builds_or_drops_an_index_in_the_way_of_others(empty_database: str) -> None:
    for revision in revisions():
        assert await blocking_in_upgrade(empty_database, revision) == [], revision


@pytest.mark.parametrize(
    "blocking",
    [
        'op.create_index("ix_later", "candles", ["fetched_at"])',
        'op.drop_index("ix_job_execution_logs_symbol", table_name="job_execution_logs")',
        'op.execute("LOCK TABLE candles")',
        'op.execute("LOCK TABLE candles IN ACCESS EXCLUSIVE MODE")',
        'op.alter_column("series", "symbol", type_=sa.String())',
        'op.create_check_constraint("volume", "candles", "volume >= 0")',
        'op.add_column("outbox", sa.Column("later", sa.Integer, sa.Identity()))',
        'op.execute("TRUNCATE outbox")',
    ],
)
async def test_a_statement_in_the_way_of_others_is_noticed(database_url: str, tmp_path: Path, blocking: str) -> None:
    if "symbol" in blocking and "alter_column" in blocking:
        blocking = f'op.execute("DROP VIEW ohlcv"); {blocking}'
    later = a_later_release(tmp_path / "versions", blocking)
    assert len(await blocking_in_upgrade(database_url, "head", later)) == 1


async def test_the_head_is_reached_from_empty(empty_database: str) -> None:
    await upgrade(empty_database)
    async with connected(empty_database) as connection:
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == head_revision()
    assert await leftovers(empty_database) == []
