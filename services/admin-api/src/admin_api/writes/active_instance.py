"""A Postgres session with a lock. Of several instances, the one with the lock is the active one.

A session-level advisory lock belongs to one connection. So the work is done with this connection, and an instance that
has lost the lock cannot continue to change rows.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import NullPool

from runtime.database import open_engine
from runtime.settings import DatabaseSettings

# If the connection to an instance is lost without a close, for example in a power failure, Postgres notices this after
# 5 s instead of 2 h. Then it releases the lock.
_KEEPALIVES: Final = {
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "5000",
}
_END_IDLE_SESSION: Final = (
    "SELECT set_config(name, '{milliseconds}', false) FROM pg_settings"
    " WHERE name IN ('idle_session_timeout', 'idle_in_transaction_session_timeout')"
)
"""Ends a session that is idle for too long. This is necessary, because the kernel answers keep-alives even if the
process is stalled. The query selects from `pg_settings` because Postgres 13 does not have the first setting.
"""


@asynccontextmanager
async def lockable_session(
    settings: DatabaseSettings, application_name: str, *, idle_seconds: int
) -> AsyncIterator[AsyncConnection]:
    """A connection outside the pool. Postgres ends it after `idle_seconds` without a request."""
    engine = open_engine(
        settings.database_url.get_secret_value(),
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={
            "timeout": 10.0,
            "command_timeout": settings.database_command_timeout_seconds,
            "server_settings": {"application_name": application_name, **_KEEPALIVES},
        },
    )
    try:
        async with engine.connect() as connection:
            driver = await driver_of(connection)
            await driver.execute(_END_IDLE_SESSION.format(milliseconds=idle_seconds * 1000))
            yield connection
    finally:
        await engine.dispose()


async def driver_of(connection: AsyncConnection) -> asyncpg.Connection:
    """The connection of the driver, for functions that SQLAlchemy does not offer."""
    return (await connection.get_raw_connection()).driver_connection


async def try_lock(connection: asyncpg.Connection, lock: int) -> bool:
    """Whether this session has the lock now. A session that has the lock keeps it until the session ends."""
    return bool(await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock))
