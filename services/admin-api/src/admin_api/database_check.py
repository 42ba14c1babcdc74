"""The readiness check of the database, and the limit on queries by callers without a token."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.writes.transactions import DATABASE_PROBLEMS, reading

_INTERVAL_SECONDS: Final = 1.0
_TIMEOUT_SECONDS: Final = 2.0


class OncePerSecond:
    """Runs a query at most once a second, no matter how many requests need its result. It is used by routes that need
    no token.

    A more expensive query has a longer `interval_seconds`.
    """

    def __init__(
        self,
        query: Callable[[], Awaitable[None]],
        monotonic: Callable[[], float] = time.monotonic,
        *,
        interval_seconds: float = _INTERVAL_SECONDS,
    ) -> None:
        self._query, self._monotonic, self._interval_seconds = query, monotonic, interval_seconds
        self._last_query_at = float("-inf")
        self._lock = asyncio.Lock()

    async def __call__(self) -> None:
        async with self._lock:
            if self._monotonic() - self._last_query_at < self._interval_seconds:
                return
            await self._query()
            self._last_query_at = self._monotonic()


class DatabaseCheck:
    """`refresh` queries the database, at most once a second; `problem` returns the result of the last query."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._problem: str | None = "not checked yet"
        self.refresh = OncePerSecond(self._query)

    def problem(self) -> str | None:
        """A check for `Health.readiness`."""
        return self._problem

    async def _query(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS), reading(self._engine) as connection:
                await connection.execute(sa.select(1))
        except (*DATABASE_PROBLEMS, TimeoutError) as error:
            self._problem = str(error.__cause__ or error) or "no answer in time"
        else:
            self._problem = None
