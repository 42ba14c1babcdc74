"""The Postgres engine. Needs the extra `candlekeep-runtime[database]`, which services without a database omit."""

import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Final
from weakref import WeakKeyDictionary

import asyncpg
import sqlalchemy.exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from runtime.connections.database_tls import PARAMETERS, tls_of
from runtime.settings import DatabaseSettings

_CONNECT_TIMEOUT_SECONDS = 10.0

DRIVER_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    sqlalchemy.exc.SQLAlchemyError,
    sqlalchemy.exc.EmulatedDBAPIException,
)
"""All errors of asyncpg and SQLAlchemy. A background task that gets one starts again with a new connection. While
Postgres cannot be reached, they also raise `OSError`, of which `TimeoutError` is a subclass.
"""


def async_url(database_url: str) -> URL:
    """The URL for SQLAlchemy's asyncpg dialect, without libpq's parameters of TLS, which asyncpg does not take."""
    return make_url(database_url).difference_update_query(PARAMETERS).set(drivername="postgresql+asyncpg")


def open_engine(database_url: str, connect_args: Mapping[str, Any], **options: Any) -> AsyncEngine:
    """The only function that makes an engine. It applies the TLS parameters of the URL (`sslmode` and others).

    Raises `OSError` or `ssl.SSLError` if a file of a certificate cannot be used.
    """
    query = {name: value for name, value in make_url(database_url).query.items() if isinstance(value, str)}
    tls = tls_of(query).argument()
    arguments = {**connect_args, "async_creator_fn": _connect, **({} if tls is None else {"ssl": tls})}
    return create_async_engine(async_url(database_url), connect_args=arguments, **options)


class ServerNotTrusted(ConnectionError):  # noqa: N818 -- the name states the problem
    """The certificate of Postgres is refused. A service waits, as in an outage, and logs this message."""


async def _connect(**arguments: Any) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(**arguments)
    except ssl.SSLCertVerificationError as error:
        raise ServerNotTrusted(
            f"the certificate of Postgres is refused ({error.verify_message}). DATABASE_SSL_CA_FILE must contain the "
            "authority that signed it, and DATABASE_URL must have a host name of the certificate"
        ) from error


def build_engine(
    settings: DatabaseSettings,
    application_name: str = "candlekeep",
    pool_size: int | None = None,
    tested_every: float = 0.0,
) -> AsyncEngine:
    """An engine with time limits for connecting, for waiting for a connection, and for each statement.

    It connects when it is first used. Each connection is tested before use, so that a restart of Postgres causes no
    failed statement. `application_name` appears in pg_stat_activity. `pool_size` replaces the setting.
    With `tested_every`, a connection that was tested less than this number of seconds ago is not tested again. Use it
    for short queries whose failure does little harm.

    Postgres ends a transaction, and releases its locks, if its client sends nothing for the time limit of a statement.
    Without this limit, a stalled process would hold its locks indefinitely.
    """
    idle_timeout_ms = str(int(settings.database_command_timeout_seconds * 1000))
    engine = open_engine(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool_size if pool_size is None else pool_size,
        max_overflow=0,
        pool_timeout=_CONNECT_TIMEOUT_SECONDS,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,  # otherwise logged errors would contain the callers' data
        connect_args={
            "timeout": _CONNECT_TIMEOUT_SECONDS,
            "command_timeout": settings.database_command_timeout_seconds,
            "server_settings": {
                "application_name": application_name,
                "idle_in_transaction_session_timeout": idle_timeout_ms,
                "tcp_user_timeout": idle_timeout_ms,
            },
        },
    )
    engine.sync_engine.dialect.do_ping = _ConnectionTest(tested_every)  # type: ignore[method-assign,assignment]
    return engine


class _ConnectionTest:
    """Tests a connection before use, unless it passed the test less than `every` seconds ago and is still open.

    SQLAlchemy's own test begins and ends a transaction. This test needs one round trip instead of three.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._passed_at: WeakKeyDictionary[Any, float] = WeakKeyDictionary()

    def __call__(self, connection: Any) -> bool:
        driver = connection.driver_connection
        now = time.monotonic()
        if now - self._passed_at.get(driver, -inf) < self._every:
            return not driver.is_closed()
        try:
            connection.run_async(lambda driver: driver.execute("SELECT 1"))
        except (*DRIVER_ERRORS, OSError):
            if not driver.is_closed():
                raise
            return False
        self._passed_at[driver] = now
        return True


@asynccontextmanager
async def driver_transaction(engine: AsyncEngine) -> AsyncIterator[Any]:
    """A raw asyncpg connection inside one transaction, for fast writes of many rows: array parameters and COPY."""
    async with engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        async with driver.transaction():
            yield driver


def _driver_error(error: sqlalchemy.exc.DBAPIError) -> BaseException | None:
    """The error of asyncpg. SQLAlchemy's class alone does not show whether the data is the cause."""
    return error.orig.__cause__ if error.orig is not None else None


def is_transient(error: Exception) -> bool:
    """Whether the same write may succeed later, for `BatchSubscription`.

    False for errors that the data causes: the driver cannot encode it, Postgres cannot store it, or it violates a
    constraint. True for every other database error (unavailable, full, read-only, locked, not migrated): it ends by
    itself, or an operator repairs it. False for errors that do not come from the database: they are bugs, and waiting
    does not help.
    """
    if isinstance(error, sqlalchemy.exc.DBAPIError) and isinstance(driver := _driver_error(error), Exception):
        error = driver
    caused_by_data = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
    if isinstance(error, (*caused_by_data, ValueError, sqlalchemy.exc.DataError, sqlalchemy.exc.IntegrityError)):
        return False
    return isinstance(error, (*DRIVER_ERRORS, OSError))
