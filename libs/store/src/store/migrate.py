"""Running Alembic from code: no alembic.ini, and no driver besides asyncpg."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

_LOCK = 7_226_501_133
"""Advisory lock: two migrators started at once take turns."""

_CONNECT_SECONDS = 10.0
_STATEMENT_SECONDS = 3600.0
"""An index on a large table takes its time, and so may another migrator's turn. A Postgres that is gone does not."""


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def head_revision() -> str:
    """The revision that this code was written for."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if head is None:
        raise RuntimeError("the store package was installed without its migrations")
    return head


async def upgrade(database_url: str, revision: str = "head") -> None:
    """Bring a database to a revision, all in one transaction. `database_url` is postgresql://… in any spelling."""
    limits = {"timeout": _CONNECT_SECONDS, "command_timeout": _STATEMENT_SECONDS}
    url = make_url(database_url).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, poolclass=NullPool, connect_args=limits)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, revision)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, revision: str) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
