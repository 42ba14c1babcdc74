"""Does the database answer? Asked by readiness, remembered for a moment."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.writes.transactions import DATABASE_PROBLEMS, reading

_REMEMBERED_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 2.0


class OncePerSecond:
    """Asks the database for those who need no token: at most once a second, however many call at once."""

    def __init__(self, ask: Callable[[], Awaitable[None]], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._monotonic = ask, monotonic
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def __call__(self) -> None:
        async with self._asking:
            if self._monotonic() - self._asked_at < _REMEMBERED_SECONDS:
                return
            await self._ask()
            self._asked_at = self._monotonic()


class DatabaseCheck:
    """`look` asks, at most once a second whoever asks; `problem` tells what was seen."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._problem: str | None = "not asked yet"
        self.look = OncePerSecond(self._ask)

    def problem(self) -> str | None:
        """A check for `Health.readiness`."""
        return self._problem

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), reading(self._engine) as connection:
                await connection.execute(sa.select(1))
        except (*DATABASE_PROBLEMS, TimeoutError) as error:
            self._problem = str(error.__cause__ or error) or "no answer in time"
        else:
            self._problem = None
