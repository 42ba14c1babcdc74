"""Transactions, and the mapping of Postgres' errors to API errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.http.errors import ApiError, DatabaseUnavailable, OutcomeUnknown, WriteConflict
from runtime.database import DRIVER_ERRORS

DATABASE_PROBLEMS: Final = (DatabaseUnavailable, OutcomeUnknown, WriteConflict, *DRIVER_ERRORS)
"""All errors of the database that `transaction` and `reading` raise, for background work. Errors of the driver are
raised only if a statement is wrong, or if the right to execute it is missing.
"""

_RETRY_AFTER: Final = {"Retry-After": "2"}
_RETRYABLE: Final = ("08", "53", "57", "58")
"""The SQLSTATE classes of errors after which a retry may help: connection loss, lack of resources, operator
intervention and system errors.
"""
_ROLLBACK: Final = "40"
"""SQLSTATE class: deadlocks and serialization failures."""
_ROLLBACK_AT_COMMIT: Final = (_ROLLBACK, "23")
"""The SQLSTATE classes with which COMMIT reports a rollback, including deferred constraints. After any other failure of
COMMIT, Postgres may have committed.
"""
_ERRORS: Final = (
    OSError,
    PoolTimeout,
    DBAPIError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction, committed at the end of the block.

    Raises `DatabaseUnavailable` or `WriteConflict` if nothing was changed, and `OutcomeUnknown` if Postgres did not
    confirm the commit.
    """
    committing = False
    try:
        async with engine.connect() as connection:
            yield connection
            committing = True
            await connection.commit()
    except _ERRORS as error:
        if (problem := _problem_of(error, committing=committing)) is None:
            raise
        raise problem from error


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction for queries only; it does not commit. Raises `DatabaseUnavailable` and `WriteConflict`."""
    try:
        async with engine.connect() as connection:
            yield connection
    except _ERRORS as error:
        if (problem := _problem_of(error, committing=False)) is None:
            raise
        raise problem from error


def _problem_of(error: Exception, *, committing: bool) -> ApiError | None:
    """The API error for a database error; None if Postgres is not the cause. `committing`: COMMIT failed."""
    state = _sqlstate(error)
    if committing and not state.startswith(_ROLLBACK_AT_COMMIT):
        return OutcomeUnknown(
            "Postgres did not confirm the commit, so the change may or may not be stored. Repeat the request with the "
            "same Idempotency-Key, or read the current state before you try again.",
            headers=_RETRY_AFTER,
        )
    if state.startswith(_ROLLBACK):
        return WriteConflict(
            "Postgres rolled this transaction back because it conflicted with another one (a deadlock or a "
            "serialization failure). Nothing was changed; try again.",
            headers=_RETRY_AFTER,
        )
    if _is_outage(error, state):
        return DatabaseUnavailable(
            "Postgres is not available. Nothing was changed; try again in a moment.", headers=_RETRY_AFTER
        )
    return None


def _sqlstate(error: Exception) -> str:
    """The error code of Postgres.

    Empty if Postgres did not respond. SQLAlchemy wraps the driver's errors, except those of connecting.
    """
    return getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None) or ""


def _is_outage(error: Exception, state: str) -> bool:
    """Whether the database is unavailable, so that the same request may succeed later."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or state.startswith(_RETRYABLE)
    if isinstance(error, asyncpg.PostgresError):
        return state.startswith(
            (*_RETRYABLE, "28", "3D")
        )  # errors while connecting, including wrong credentials and a missing database
    return True
