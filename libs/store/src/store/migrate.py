"""Runs Alembic from code, without alembic.ini and with asyncpg as the only driver."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import NullPool

from runtime.database import open_engine
from runtime.logs import log
from store.roles import DEFAULT_PREFIX, TABLE_IN_USE, become_owner, grant_rights

_LOCK = 7_226_501_133
"""Advisory lock: two upgrades that are started at once run one after the other."""

_LOCK_WAIT: Final = "500ms"
"""How long a migration waits for a lock on a table. Readers of the table wait behind it, so the wait is short and is
repeated.
"""

_PAUSE_SECONDS = 2.0
_RETRY_SECONDS = 600.0
"""How long each migration is retried while its table is in use."""

_CONNECT_SECONDS = 10.0
_STATEMENT_SECONDS = 3600.0
"""The time limit of one statement, and of the wait for another migration. It is long, because an index on a large table
takes long.
"""


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


@asynccontextmanager
async def schema_connection(database_url: str, application_name: str) -> AsyncIterator[AsyncConnection]:
    """A connection that changes the schema or its roles. Only one such connection is open at a time.

    Raises `TimeoutError` if another one does not end within an hour.
    """
    limits = {
        "timeout": _CONNECT_SECONDS,
        "command_timeout": _STATEMENT_SECONDS,
        "server_settings": {"application_name": application_name, "lock_timeout": _LOCK_WAIT},
    }
    engine = open_engine(database_url, limits, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await _wait_for_turn(connection)
            yield connection
    finally:
        await engine.dispose()


async def upgrade(
    database_url: str, revision: str = "head", config: Config | None = None, role_prefix: str = DEFAULT_PREFIX
) -> None:
    """Migrate a database to a revision while services use it. Each migration is committed by itself.

    `database_url` is a URL of Postgres; `config` is an Alembic configuration with further revisions. If a table is in
    use, the migration is undone and retried for ten minutes. Then the `DBAPIError` is raised; the migrations before it
    are kept. Raises `TimeoutError` if another upgrade does not end within an hour. If the roles of `role_prefix` exist,
    their owner gets the new tables, and the services get their rights.
    """
    async with schema_connection(database_url, "store-upgrade") as connection:
        has_roles = await become_owner(connection, role_prefix)
        await _migrate(connection, revision, config or alembic_config())
        if has_roles and revision == "head":
            await grant_rights(connection, role_prefix)
            await connection.commit()


async def _migrate(connection: AsyncConnection, revision: str, config: Config) -> None:
    loop = asyncio.get_running_loop()
    reached: str | None = "not known yet"
    until = 0.0
    while True:
        try:
            await connection.run_sync(_upgrade, revision, config)
            return
        except PendingRollbackError as error:
            # The connection was lost during a concurrent build, and the clean-up of Alembic hides the error.
            raise error.__context__ or error from None
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in TABLE_IN_USE:
                raise
            await connection.rollback()
            before, reached = reached, await connection.run_sync(_current_revision)
            await connection.rollback()
            if reached != before:
                until = loop.time() + _RETRY_SECONDS
            elif loop.time() > until:
                raise
            log.warning("A table is in use; the migration is retried", action="upgrade_waits", error=str(error.orig))
        await asyncio.sleep(_PAUSE_SECONDS)


async def _wait_for_turn(connection: AsyncConnection) -> None:
    """Take the upgrade lock, which is held until the connection is closed.

    This polls, because a session that waits in a statement would block the concurrent index build of the other upgrade,
    and both would wait indefinitely.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + _STATEMENT_SECONDS
    while not await connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}):
        await connection.commit()
        if loop.time() > until:
            raise TimeoutError(
                "another upgrade of this database has been running for an hour: find its session and end it"
            )
        await asyncio.sleep(_PAUSE_SECONDS)
    await connection.commit()


def _current_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection, revision: str, config: Config) -> None:
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
