"""Does the database answer? Asked by readiness, remembered for a moment."""

import asyncio
import time

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.database import transaction
from admin_api.errors import DatabaseUnavailable

_REMEMBERED_SECONDS = 1.0
_PATIENCE_SECONDS = 2.0


class DatabaseProbe:
    """`look` asks, at most once a second whoever asks; `problem` tells what was seen."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._problem: str | None = "not asked yet"
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    def problem(self) -> str | None:
        """A check for `Health.readiness`."""
        return self._problem

    async def look(self) -> None:
        async with self._asking:
            if time.monotonic() - self._asked_at < _REMEMBERED_SECONDS:
                return
            self._problem = await self._ask()
            self._asked_at = time.monotonic()

    async def _ask(self) -> str | None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), transaction(self._engine) as connection:
                await connection.execute(sa.select(1))
        except (DatabaseUnavailable, TimeoutError) as error:
            return str(error.__cause__ or error) or "no answer in time"
        return None
