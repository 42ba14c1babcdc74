"""Runs a notifier in a test: with short pauses, against receivers on loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.metrics import Metrics
from admin_api.notifications.notifier import Notifier, Pace
from admin_api.settings import AdminApiSettings
from runtime.metrics import new_registry
from store.tables import notifications
from support.polling import eventually

WITHIN = 60.0
_FAST = Pace(between_rounds=0.05, first_retry=0.05, last_retry=0.2)


@dataclass
class Running:
    """A notifier that runs, and its metrics."""

    task: asyncio.Task[None]
    metrics: Metrics
    settings: AdminApiSettings

    def attempts(self, outcome: str) -> float:
        return sum(
            sample.value
            for family in self.metrics.notifications.collect()
            for sample in family.samples
            if sample.name.endswith("_total") and sample.labels["outcome"] == outcome
        )

    @property
    def is_active(self) -> bool:
        return [sample.value for family in self.metrics.notifier_active.collect() for sample in family.samples] == [1.0]


class Notify(Protocol):
    """Runs a notifier for these addresses inside the block."""

    def __call__(
        self, *urls: str, clock: Callable[[], datetime] | None = None, **settings: Any
    ) -> AbstractAsyncContextManager[Running]: ...


@asynccontextmanager
async def notifying(
    engine: AsyncEngine, settings: AdminApiSettings, clock: Callable[[], datetime] | None
) -> AsyncIterator[Running]:
    """At the end of the block, the notifier is cancelled in the middle of its work, as by a kill."""
    metrics = Metrics(new_registry())
    notifier = Notifier(settings, metrics, engine, pace=_FAST, clock=clock or (lambda: datetime.now(UTC)))
    task = asyncio.create_task(notifier.run())
    try:
        yield Running(task, metrics, settings)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def several_rounds(engine: AsyncEngine) -> None:
    """Waits until the notifier has looked at the present problems, and has written this twice."""

    async def newest() -> datetime:
        async with engine.connect() as connection:
            found = (await connection.execute(sa.select(sa.func.max(notifications.c.last_seen)))).scalar_one()
        return found or datetime.fromtimestamp(0, UTC)

    for _ in range(2):
        before = await newest()

        async def is_later(before: datetime = before) -> bool:
            return await newest() > before

        await eventually(is_later, within=WITHIN)
