"""Work that comes round: retention, the sweep, and the adding up of counts."""

import asyncio
from collections.abc import Awaitable, Callable

from prometheus_client import Counter

from runtime.lifecycle.background import Background
from runtime.logs import log


class PeriodicTask:
    """Does its work at once and then again and again, with a pause between.

    A failure waits for the next turn: an outage passes, and a broken chore is no reason to stop writing the log, which
    is what this process is for. Failures are logged and counted.
    """

    def __init__(self, name: str, work: Callable[[], Awaitable[None]], every_seconds: float, failures: Counter) -> None:
        self._name, self._work, self._every, self._failures = name, work, every_seconds, failures
        self._stop = asyncio.Event()

    def background(self) -> Background:
        """For the worker."""
        return Background(name=self._name, run=self.run, stop=self.stop)

    async def run(self) -> None:
        """Until stopped. Work in hand is broken off then, which is safe: it is done in transactions."""
        stopped = asyncio.create_task(self._stop.wait())
        while not stopped.done():
            turn = asyncio.create_task(self._turn())
            try:
                await asyncio.wait([turn, stopped], return_when=asyncio.FIRST_COMPLETED)
            finally:
                turn.cancel()
            await asyncio.wait([turn])
            await asyncio.wait([stopped], timeout=self._every)

    async def stop(self) -> None:
        """Ask it to end."""
        self._stop.set()

    async def _turn(self) -> None:
        try:
            await self._work()
        except Exception as error:  # noqa: BLE001 -- see above
            self._failures.labels(self._name).inc()
            log.warning(
                "A chore failed, it has another turn later",
                action="periodic_task_failed",
                chore=self._name,
                error=repr(error),
            )
