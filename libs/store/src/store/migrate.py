"""Running Alembic from code: no alembic.ini, and no driver besides asyncpg."""

import asyncio
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from runtime.database import async_url
from runtime.logs import log

_LOCK = 7_226_501_133
"""Advisory lock: two migrators started at once take turns."""

_IN_THE_WAY: Final = ("55P03", "40P01")
"""lock_not_available and deadlock_detected: somebody works with a table that is to be changed."""

_LOCK_WAIT: Final = "500ms"
"""While a migration waits for a table, readers of the table wait behind it. So the wait is short and is repeated."""

_PAUSE_SECONDS = 2.0
_PATIENCE_SECONDS = 600.0
"""For each migration: how long it is tried again while its table is in use."""

_CONNECT_SECONDS = 10.0
_STATEMENT_SECONDS = 3600.0
"""The limit of one statement, and of the wait for another migrator. An index on a large table takes its time."""


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


async def upgrade(database_url: str, revision: str = "head", config: Config | None = None) -> None:
    """Bring a database to a revision while services work on it. Each migration is committed by itself.

    `database_url` is postgresql://… in any spelling; `config` is Alembic's, where its revisions are not only ours. If
    a table is in use, the migration is undone and tried again for ten minutes; then the `DBAPIError` is raised, and the
    migrations before it stay. Raises `TimeoutError` if another migrator does not end within an hour.
    """
    limits = {
        "timeout": _CONNECT_SECONDS,
        "command_timeout": _STATEMENT_SECONDS,
        "server_settings": {"application_name": "store-upgrade", "lock_timeout": _LOCK_WAIT},
    }
    engine = create_async_engine(async_url(database_url), poolclass=NullPool, connect_args=limits)
    loop = asyncio.get_running_loop()
    reached: str | None = "not known yet"
    until = 0.0
    try:
        async with engine.connect() as connection:
            await _wait_for_turn(connection)
            while True:
                try:
                    await connection.run_sync(_upgrade, revision, config or alembic_config())
                    return
                except PendingRollbackError as error:
                    # The connection was lost in a concurrent build. Alembic's clean-up then hides the reason.
                    raise error.__context__ or error from None
                except DBAPIError as error:
                    if getattr(error.orig, "sqlstate", None) not in _IN_THE_WAY:
                        raise
                    await connection.rollback()
                    before, reached = reached, await connection.run_sync(_current_revision)
                    await connection.rollback()
                    if reached != before:
                        until = loop.time() + _PATIENCE_SECONDS
                    elif loop.time() > until:
                        raise
                    log.warning("A table is in use, trying again", action="upgrade_waits", error=str(error.orig))
                await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        await engine.dispose()


async def _wait_for_turn(connection: AsyncConnection) -> None:
    """Take the migrators' lock, until the connection is closed. By asking again and again: the other migrator's
    concurrent index build would wait for a session that waits inside of a statement, and both would wait for ever.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + _STATEMENT_SECONDS
    while not await connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}):
        await connection.commit()
        if loop.time() > until:
            raise TimeoutError("another upgrade of this database has been running for an hour: find it and end it")
        await asyncio.sleep(_PAUSE_SECONDS)
    await connection.commit()


def _current_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection, revision: str, config: Config) -> None:
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
