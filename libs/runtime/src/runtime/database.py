"""The Postgres engine. Needs the extra `candlekeep-runtime[database]`; the Kafka-only services do without it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import sqlalchemy.exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from runtime.settings import DatabaseSettings

_CONNECT_SECONDS = 10.0


def async_url(database_url: str) -> URL:
    """The URL as SQLAlchemy's asyncpg dialect wants it; libpq's `sslmode` becomes asyncpg's `ssl`."""
    url = make_url(database_url)
    if "sslmode" in url.query:
        mode = url.query["sslmode"]
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return url.set(drivername="postgresql+asyncpg")


def build_engine(settings: DatabaseSettings, application_name: str = "candlekeep") -> AsyncEngine:
    """An engine with a limit on everything: connecting, waiting for a connection, and each statement.

    It connects when first used, and asks each connection whether it still lives before use, so a restarted Postgres
    costs no failed statement. The name shows in pg_stat_activity. Postgres ends our transactions, and with them their
    locks, when nothing is heard from us for as long as a statement may take: of a process that stands still it would
    otherwise hear nothing for ever.
    """
    silence = str(int(settings.database_command_timeout_seconds * 1000))
    return create_async_engine(
        async_url(settings.database_url.get_secret_value()),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=_CONNECT_SECONDS,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={
            "timeout": _CONNECT_SECONDS,
            "command_timeout": settings.database_command_timeout_seconds,
            "server_settings": {
                "application_name": application_name,
                "idle_in_transaction_session_timeout": silence,
                "tcp_user_timeout": silence,
            },
        },
    )


@asynccontextmanager
async def driver_transaction(engine: AsyncEngine) -> AsyncIterator[Any]:
    """Asyncpg's own connection inside one transaction, for writing sets: arrays and COPY at the driver's speed."""
    async with engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        async with driver.transaction():
            yield driver


def is_transient(error: Exception) -> bool:
    """Whether the same write may succeed later, for `BatchSubscription`.

    Only what the data itself causes is not: what the driver cannot encode, what Postgres cannot represent, and what
    violates a constraint. Everything else about the database (away, full, read-only, locked, not migrated) passes or
    is put right by a person. Errors that are not the database's are bugs, which waiting does not cure.
    """
    at_fault = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
    if isinstance(error, (*at_fault, ValueError, sqlalchemy.exc.DataError, sqlalchemy.exc.IntegrityError)):
        return False
    database = (asyncpg.PostgresError, asyncpg.InterfaceError, sqlalchemy.exc.SQLAlchemyError)
    return isinstance(error, (*database, OSError, TimeoutError))
