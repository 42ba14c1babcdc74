"""The border to Postgres: transactions, and the mapping of its failures, in one place."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin_api.http.errors import ApiError, DatabaseUnavailable, OutcomeUnknown, WriteConflict

DATABASE_PROBLEMS: Final = (DatabaseUnavailable, OutcomeUnknown, WriteConflict)
"""What `transaction` raises where Postgres is the cause, and not the request."""

_RETRY_AFTER: Final = {"Retry-After": "2"}
_TRY_AGAIN: Final = ("08", "53", "57", "58")
"""SQLSTATE classes of connection loss, lack of resources, operator intervention and system errors."""
_ROLLED_BACK: Final = "40"
"""The class of deadlocks and serialization failures."""
_ROLLED_BACK_AT_COMMIT: Final = (_ROLLED_BACK, "23")
"""Also deferred constraints. After any other failure of COMMIT, Postgres may have committed."""
_ERRORS: Final = (OSError, PoolTimeout, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError)


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction, committed at the end of the block.

    Raises `DatabaseUnavailable` and `WriteConflict`: nothing was changed; `OutcomeUnknown`: the commit was not
    confirmed.
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
    """A transaction that changes nothing, so that there is nothing to commit. Raises as `transaction` does, but never
    `OutcomeUnknown`.
    """
    try:
        async with engine.connect() as connection:
            yield connection
    except _ERRORS as error:
        if (problem := _problem_of(error, committing=False)) is None:
            raise
        raise problem from error


def _problem_of(error: Exception, *, committing: bool) -> ApiError | None:
    """None where Postgres is not the cause. `committing`: whether it is COMMIT that failed."""
    state = _sqlstate(error)
    if committing and not state.startswith(_ROLLED_BACK_AT_COMMIT):
        return OutcomeUnknown(
            "Postgres did not confirm the commit, so the change may or may not be stored. Repeat the request with the "
            "same Idempotency-Key, or read the current state before you try again.",
            headers=_RETRY_AFTER,
        )
    if state.startswith(_ROLLED_BACK):
        return WriteConflict(
            "Postgres rolled this transaction back because it conflicted with another one (a deadlock or a "
            "serialization failure). Nothing was changed; try again.",
            headers=_RETRY_AFTER,
        )
    if _is_outage(error, state):
        return DatabaseUnavailable(
            "Postgres does not answer. Nothing was changed; try again in a moment.", headers=_RETRY_AFTER
        )
    return None


def _sqlstate(error: Exception) -> str:
    """Empty where Postgres did not answer. The driver's errors come wrapped or, while connecting, bare."""
    return getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None) or ""


def _is_outage(error: Exception, state: str) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or state.startswith(_TRY_AGAIN)
    if isinstance(error, asyncpg.PostgresError):
        return state.startswith((*_TRY_AGAIN, "28", "3D"))  # while connecting: also bad credentials, no such database
    return True
