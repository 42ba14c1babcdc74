"""The border to Postgres: transactions, and the mapping of its failures, in one place."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.errors import DatabaseUnavailable

_RETRY_AFTER_SECONDS = 2
_TRY_AGAIN = ("08", "40", "53", "57", "58")
"""SQLSTATE classes of connection loss, deadlock, lack of resources, operator intervention and system errors."""


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction, committed at the end of the block. Raises `DatabaseUnavailable` where Postgres is the cause."""
    try:
        async with engine.begin() as connection:
            yield connection
    except (OSError, PoolTimeout, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if not _is_outage(error):
            raise
        raise DatabaseUnavailable(
            "Postgres does not answer. Nothing was changed; try again in a moment.",
            headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
        ) from error


def _is_outage(error: Exception) -> bool:
    """Whether the same request may succeed later. The driver's errors come wrapped or, while connecting, bare."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        return error.connection_invalidated or state.startswith(_TRY_AGAIN)
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state.startswith((*_TRY_AGAIN, "28", "3D"))  # while connecting: also bad credentials, no such database
    return True
