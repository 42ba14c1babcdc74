"""Migrations only add to the schema, so the previous release continues to work, and no session waits for long."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from store import migrate
from store.migrate import alembic_config, head_revision, upgrade
from support.databases import connected
from support.later_release import LATER, a_later_release
from support.locks import is_awaited
from support.polling import eventually

pytestmark = pytest.mark.postgres

COLUMNS = """
    SELECT table_name || '.' || column_name AS name, data_type AS type, is_nullable = 'YES' AS nullable,
        column_default IS NOT NULL OR is_identity = 'YES' OR is_generated = 'ALWAYS' AS fills_itself
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
"""
RULES = """
    SELECT conrelid::regclass::text || ': ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'u', 'p', 'f', 'x')
    UNION SELECT indrelid::regclass::text || ': ' || pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indisunique AND indrelid::regclass::text NOT LIKE 'pg\\_%'
"""


@pytest.fixture
async def empty_database(database_url: str) -> str:
    async with connected(database_url) as connection:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return database_url


class Shape:
    """The properties of the schema on which an older release depends."""

    def __init__(self, columns: list[asyncpg.Record], rules: set[str]) -> None:
        self.columns = {column["name"]: column for column in columns}
        self.rules = rules

    @classmethod
    async def of(cls, connection: asyncpg.Connection) -> "Shape":
        rules = {row[0] for row in await connection.fetch(RULES)}
        return cls(await connection.fetch(COLUMNS), rules)

    def tables(self) -> set[str]:
        return {name.partition(".")[0] for name in self.columns}

    def narrowed(self, before: "Shape") -> list[str]:
        """The changes that may break the release before."""
        missing = [f"{name} is missing" for name in before.columns.keys() - self.columns.keys()]
        changed = [
            f"{name} changed"
            for name, column in before.columns.items()
            if (now := self.columns.get(name)) is not None
            and (now["type"] != column["type"] or now["nullable"] < column["nullable"])
        ]
        required = [
            f"{name} is required"
            for name in self.columns.keys() - before.columns.keys()
            if name.partition(".")[0] in before.tables()
            and not (self.columns[name]["nullable"] or self.columns[name]["fills_itself"])
        ]
        rules = [f"new rule {rule}" for rule in self.rules - before.rules if rule.partition(":")[0] in before.tables()]
        return missing + changed + required + rules


def revisions() -> list[str]:
    """Oldest first."""
    found = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    return [script.revision for script in found][::-1]


async def test_no_migration_breaks_the_release_before_it(empty_database: str) -> None:
    async with connected(empty_database) as connection:
        first, *later = revisions()
        await upgrade(empty_database, first)
        before = await Shape.of(connection)
        for revision in later:
            await upgrade(empty_database, revision)
            after = await Shape.of(connection)
            assert after.narrowed(before) == [], revision
            before = after


@pytest.mark.parametrize(
    ("narrowing", "seen"),
    [
        ("ALTER TABLE series DROP COLUMN symbol CASCADE", "series.symbol is missing"),
        ("ALTER TABLE candles ALTER COLUMN volume TYPE numeric", "candles.volume changed"),
        ("ALTER TABLE job_execution_logs ALTER COLUMN error_message SET NOT NULL", "error_message changed"),
        ("ALTER TABLE series ADD COLUMN wanted integer NOT NULL", "series.wanted is required"),
        ("ALTER TABLE candles ADD CHECK (volume >= 0)", "new rule candles: CHECK"),
        ("CREATE UNIQUE INDEX ON outbox (key)", "new rule outbox: CREATE UNIQUE INDEX"),
    ],
)
async def test_a_change_that_breaks_the_release_before_is_found(database_url: str, narrowing: str, seen: str) -> None:
    async with connected(database_url) as connection:
        before = await Shape.of(connection)
        await connection.execute("DROP VIEW ohlcv")
        await connection.execute(narrowing)
        found = (await Shape.of(connection)).narrowed(before)
        assert any(seen in each for each in found), found


@pytest.fixture
def a_change_of_the_log(tmp_path: Path) -> Config:
    """A migration that needs an exclusive lock on the table of runs."""
    return a_later_release(tmp_path / "versions", 'op.add_column("job_execution_logs", sa.Column("later", sa.Text()))')


async def test_a_migration_waits_for_a_table_in_use_without_blocking_readers(
    database_url: str, a_change_of_the_log: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "_LOCK_WAIT", "300ms")
    monkeypatch.setattr(migrate, "_PAUSE_SECONDS", 0.2)
    async with connected(database_url) as user, connected(database_url) as other, connected(database_url) as look:
        report = user.transaction()
        await report.start()
        await user.fetch("SELECT FROM job_execution_logs")
        upgrading = asyncio.create_task(upgrade(database_url, config=a_change_of_the_log))
        await eventually(lambda: is_awaited(look, "job_execution_logs"), every=0.01)
        for _ in range(3):  # if the migration waited in the queue all the time, these reads would wait, too
            await other.fetch("SELECT FROM job_execution_logs LIMIT 1", timeout=2)
        assert not upgrading.done()
        await report.rollback()
        await upgrading
        assert await look.fetchval("SELECT version_num FROM alembic_version") == LATER


async def test_a_migration_fails_if_a_table_stays_in_use(
    database_url: str, a_change_of_the_log: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "_LOCK_WAIT", "100ms")
    monkeypatch.setattr(migrate, "_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(migrate, "_RETRY_SECONDS", 0.0)
    async with connected(database_url) as user:
        async with user.transaction():
            await user.fetch("SELECT FROM job_execution_logs")
            with pytest.raises(DBAPIError, match="lock timeout"):
                await upgrade(database_url, config=a_change_of_the_log)
        assert await user.fetchval("SELECT version_num FROM alembic_version") == head_revision()
