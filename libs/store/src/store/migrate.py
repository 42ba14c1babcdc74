"""Runs Alembic from code, without alembic.ini and with asyncpg as the only driver."""

import asyncio
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from runtime.database import async_url
from runtime.logs import log

_LOCK = 7_226_501_133
"""Advisory lock: two upgrades that are started at once run one after the other."""

_TABLE_IN_USE: Final = ("55P03", "40P01")
"""lock_not_available and deadlock_detected: another session uses a table that a migration changes."""

_LOCK_WAIT: Final = "3s"
"""While a migration waits for a table, readers of the table wait behind it. So the wait is short and is repeated."""

_PAUSE_SECONDS = 2.0
_RETRY_SECONDS = 600.0

_CONNECT_SECONDS = 10.0
_STATEMENT_SECONDS = 3600.0
"""The limit of one statement, and of the wait for another upgrade. An index on a large table takes long."""


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def head_revision() -> str:
    """The revision that this code needs."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if head is None:
        raise RuntimeError("the store package was installed without its migrations")
    return head


async def upgrade(database_url: str, revision: str = "head", config: Config | None = None) -> None:
    """Migrate a database to a revision in one transaction, while services use it.

    `database_url` is a URL of Postgres; `config` is an Alembic configuration with further revisions. If another session
    keeps a table for longer than three seconds, everything is undone and tried again, for ten minutes. Then the
    `DBAPIError` is raised.
    """
    limits = {"timeout": _CONNECT_SECONDS, "command_timeout": _STATEMENT_SECONDS}
    engine = create_async_engine(async_url(database_url), poolclass=NullPool, connect_args=limits)
    loop = asyncio.get_running_loop()
    until = loop.time() + _RETRY_SECONDS
    try:
        while True:
            try:
                async with engine.begin() as connection:
                    await connection.run_sync(_upgrade, revision, config or alembic_config())
                return
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _TABLE_IN_USE or loop.time() > until:
                    raise
                log.warning("A table is in use, trying again", action="upgrade_waits", error=str(error.orig))
            await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, revision: str, config: Config) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    connection.execute(text("SELECT set_config('lock_timeout', :wait, true)"), {"wait": _LOCK_WAIT})
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
