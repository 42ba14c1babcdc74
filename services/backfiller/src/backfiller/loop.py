"""The loop of the backfiller: check chunks in flight, plan series, request chunks, pause."""

import asyncio
import time
from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from backfiller.chunks import Chunk
from backfiller.metrics import BackfillerMetrics
from backfiller.plans import SERIES_AT_ONCE, plan_due_series, register_series
from backfiller.requests import request_due_chunks
from backfiller.results import check_again
from backfiller.settings import BackfillerSettings
from runtime.database import DRIVER_ERRORS
from runtime.kafka.publisher import EventPublisher, PublishFailed
from runtime.lifecycle.background import Background
from runtime.logs import log
from runtime.waiting import Backoff, wait_for_event

_RETRY_INITIAL_WAIT_SECONDS = 0.5
_RETRY_MAX_WAIT_SECONDS = 10.0
_REGISTER_SECONDS = 5.0


class BackfillLoop:
    """A turn is one pass of the loop. It can be repeated and interrupted safely, because it consists of transactions
    and of requests with a run id that is the same in each attempt. An outage of Postgres or Kafka ends a turn. The next
    turn follows after a pause, which grows with each failure.
    """

    def __init__(
        self,
        settings: BackfillerSettings,
        engine: AsyncEngine,
        publisher: EventPublisher,
        metrics: BackfillerMetrics,
        note: Callable[[Sequence[Chunk]], None],
    ) -> None:
        """`note` is called with chunks that were requested or have changed."""
        self._settings, self._engine, self._publisher, self._metrics = settings, engine, publisher, metrics
        self._note = note
        self._stopping, self._woken = asyncio.Event(), asyncio.Event()
        self._registered_at: float | None = None
        self._problem: str | None = None

    def background(self) -> Background:
        """The task for the worker."""
        return Background("backfill loop", self.run, self.stop, readiness=self.readiness)

    def wake(self) -> None:
        """End the current pause, because a chunk has changed."""
        self._woken.set()

    async def stop(self) -> None:
        self._stopping.set()
        self._woken.set()

    def readiness(self) -> str | None:
        """The outage that ended the last turn. None if the last turn was complete."""
        return self._problem

    async def run(self) -> None:
        """Repeat turns until stopped. If a turn fails for a reason other than an outage, its error is raised."""
        backoff = Backoff(_RETRY_INITIAL_WAIT_SECONDS, _RETRY_MAX_WAIT_SECONDS, jitter=True)
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                more = await self._turn()
            except (*DRIVER_ERRORS, OSError, PublishFailed) as error:
                self._problem = f"a pass of the backfill loop failed, trying again: {error!r}"[:500]
                log.warning(
                    "A pass of the backfill loop failed, trying again", action="turn_failed", error=repr(error)[:500]
                )
                await backoff.sleep_unless(self._stopping)
                continue
            self._problem = None
            backoff.reset()
            if not more and not self._stopping.is_set():
                await wait_for_event(self._woken, self._settings.turn_seconds)

    async def _turn(self) -> bool:
        """Returns whether more series are due already."""
        changed = await check_again(self._engine, self._settings.closing())
        self._metrics.add_changed(changed)
        await self._register()
        started = time.perf_counter()
        planned = await plan_due_series(self._engine, self._settings.plan(), self._settings.plan_times())
        self._metrics.add_plan(planned, time.perf_counter() - started)
        requested = await request_due_chunks(self._engine, self._publisher, self._settings.requests())
        self._metrics.requested.inc(len(requested))
        self._note([*changed, *requested])
        return planned.series == SERIES_AT_ONCE

    async def _register(self) -> None:
        now = time.monotonic()
        if self._registered_at is None or now - self._registered_at >= _REGISTER_SECONDS:
            await register_series(self._engine)
            self._registered_at = now
