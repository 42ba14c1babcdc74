"""Runs a worker's background tasks, detects when one ends, and stops them in reverse order within a grace period."""

import asyncio
from collections.abc import Sequence

from runtime.dead_letters.limits import TooManyDeadLetters
from runtime.lifecycle.background import Background
from runtime.logs import log

_CANCEL_SECONDS = 4.0
"""How long cancelled tasks may take to end. It is longer than the time limit for closing a Kafka client."""


class Supervisor:
    """Runs a set of background tasks once: call `run_until`, then `stop`."""

    def __init__(self, backgrounds: Sequence[Background]) -> None:
        self._backgrounds = backgrounds
        self._tasks: list[tuple[Background, asyncio.Task[None]]] = []
        self._stopped: set[asyncio.Task[None]] = set()
        self.at_its_limit: str | None = None
        """The message of a consumer that reached its limit of dead letters."""

    async def run_until(self, stopping: asyncio.Task[bool]) -> bool:
        """Start all tasks. Returns True when `stopping` is done, False when a background task has ended by itself."""
        self._tasks = [(each, asyncio.create_task(_run(each), name=each.name)) for each in self._backgrounds]
        await asyncio.wait([stopping, *(task for _, task in self._tasks)], return_when=asyncio.FIRST_COMPLETED)
        ended = [(background, task) for background, task in self._tasks if task.done()]
        for background, task in ended:
            error = None if task.cancelled() else task.exception()
            _log_end(background, error)
            self.at_its_limit = str(error) if isinstance(error, TooManyDeadLetters) else self.at_its_limit
        return not ended

    async def stop(self, grace_seconds: float) -> bool:
        """Stop all tasks in reverse order. Together they have the grace period. Tasks that are still running are then
        cancelled and have 4 s to release their resources. Returns True if no task failed while it stopped.
        """
        deadline = asyncio.get_running_loop().time() + grace_seconds
        for background, task in reversed(self._tasks):
            if not task.done():
                await self._stop_one(background, task, deadline)
        late = [task for _, task in self._tasks if not task.done()]
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_CANCEL_SECONDS)
        ended_well = [_ended_well(background, task) for background, task in self._tasks if task in self._stopped]
        return all(ended_well)

    async def _stop_one(self, background: Background, task: asyncio.Task[None], deadline: float) -> None:
        self._stopped.add(task)
        try:
            async with asyncio.timeout_at(deadline):
                await background.stop()
                await asyncio.wait([task])
        except TimeoutError:
            log.warning(
                "A background task did not stop within the grace period and is cancelled",
                action="background_cancelled",
                background=background.name,
            )
        except Exception:  # noqa: BLE001 -- the others must still be stopped
            log.exception(
                "A background task could not be stopped", action="background_stop_failed", background=background.name
            )


def _ended_well(background: Background, task: asyncio.Task[None]) -> bool:
    if task.done() and not task.cancelled() and (error := task.exception()) is not None:
        log.error(
            "A background task failed while it stopped",
            action="background_failed",
            background=background.name,
            exc_info=error,
        )
        return False
    return True


def _log_end(background: Background, error: BaseException | None) -> None:
    if isinstance(error, TooManyDeadLetters):  # the message says what to do; a traceback would not help
        log.critical(str(error), action="too_many_dead_letters", background=background.name)
        return
    log.critical(
        "A background task ended unexpectedly: the process stops",
        action="background_ended",
        background=background.name,
        exc_info=error,
    )


async def _run(background: Background) -> None:
    await background.run()
