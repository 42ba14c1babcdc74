"""The check that the database schema is not older than the code."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.lifecycle.startup_errors import StartupRefused
from store.migrate import alembic_config, head_revision


class SchemaOutOfDate(StartupRefused):
    """The database schema is older than this code. The message names the command to run."""


async def ensure_current(engine: AsyncEngine) -> None:
    """Raise SchemaOutOfDate if the schema is older than this code.

    An unknown revision is taken as a newer one and accepted: migrations only add to the schema, so the previous release
    continues to work during an upgrade.
    """
    async with engine.connect() as connection:
        current = await connection.run_sync(current_revision)
    if current == head_revision() or (current is not None and current not in known_revisions()):
        return
    found = f"at revision {current}" if current else "empty"
    raise SchemaOutOfDate(
        f"the database is {found}, this release needs revision {head_revision()}: "
        "run `python -m store upgrade` with the same DATABASE_URL first (or `make migrate`)"
    )


@asynccontextmanager
async def using_current(engine: AsyncEngine) -> AsyncIterator[None]:
    """Use the database while a worker runs: check the schema with `ensure_current` at the start, and close the
    connections at the end.
    """
    try:
        await ensure_current(engine)
        yield
    finally:
        await engine.dispose()


def current_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


@cache
def known_revisions() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions())
