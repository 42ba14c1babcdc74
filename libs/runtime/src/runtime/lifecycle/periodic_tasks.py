"""Work that a worker repeats beside its main work, such as counts for metrics."""

import asyncio
from collections.abc import Awaitable, Callable

from prometheus_client import Counter

from runtime.lifecycle.background import Background
from runtime.logs import log


class PeriodicTask:
    """Does its work at once and then repeats it, with a pause between.

    A failure is logged and counted, and the work is tried again after the pause. It does not end the process, because
    this task is not its main work.
    """

    def __init__(self, name: str, work: Callable[[], Awaitable[None]], every_seconds: float, failures: Counter) -> None:
        self._name, self._work, self._every, self._failures = name, work, every_seconds, failures
        self._stop = asyncio.Event()

    def background(self) -> Background:
        """The task for the worker."""
        return Background(name=self._name, run=self.run, stop=self.stop)

    async def run(self) -> None:
        """Run until stopped. A stop cancels the work in progress, which is safe: the work is done in transactions."""
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
        """End `run`."""
        self._stop.set()

    async def _turn(self) -> None:
        try:
            await self._work()
        except Exception as error:  # noqa: BLE001 -- see the class
            self._failures.labels(self._name).inc()
            log.warning(
                "A periodic task failed, trying again at its next turn",
                action="periodic_task_failed",
                task=self._name,
                error=repr(error),
            )
