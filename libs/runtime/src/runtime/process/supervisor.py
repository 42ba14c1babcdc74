"""Runs a worker's background tasks, notices when one ends, and stops them in reverse order within a grace."""

import asyncio
from collections.abc import Sequence

from runtime.dead_letters.limits import TooManyDeadLetters
from runtime.lifecycle.background import Background
from runtime.logs import log

_CANCEL_SECONDS = 4.0
"""Longer than a client of Kafka takes to give up its goodbye."""


class Supervisor:
    """One life of a set of backgrounds: `run_until`, then `stop`."""

    def __init__(self, backgrounds: Sequence[Background]) -> None:
        self._backgrounds = backgrounds
        self._tasks: list[tuple[Background, asyncio.Task[None]]] = []
        self._stopped: set[asyncio.Task[None]] = set()
        self.at_its_limit: str | None = None
        """What a consumer said that has put aside too many messages."""

    async def run_until(self, stopping: asyncio.Task[bool]) -> bool:
        """Start all; return when told to stop (True) or when one of them ended by itself (False)."""
        self._tasks = [(each, asyncio.create_task(_run(each), name=each.name)) for each in self._backgrounds]
        await asyncio.wait([stopping, *(task for _, task in self._tasks)], return_when=asyncio.FIRST_COMPLETED)
        ended = [(background, task) for background, task in self._tasks if task.done()]
        for background, task in ended:
            error = None if task.cancelled() else task.exception()
            _explain_end(background, error)
            self.at_its_limit = str(error) if isinstance(error, TooManyDeadLetters) else self.at_its_limit
        return not ended

    async def stop(self, grace_seconds: float) -> bool:
        """Stop all in reverse order, together within the grace; who is not done by then has a moment more to let go of
        what it holds. True when none of them failed on the way down.
        """
        deadline = asyncio.get_running_loop().time() + grace_seconds
        for background, task in reversed(self._tasks):
            if not task.done():
                await self._ask_to_stop(background, task, deadline)
        late = [task for _, task in self._tasks if not task.done()]
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_CANCEL_SECONDS)
        ended_well = [_ended_well(background, task) for background, task in self._tasks if task in self._stopped]
        return all(ended_well)

    async def _ask_to_stop(self, background: Background, task: asyncio.Task[None], deadline: float) -> None:
        self._stopped.add(task)
        try:
            async with asyncio.timeout_at(deadline):
                await background.stop()
                await asyncio.wait([task])
        except TimeoutError:
            log.warning("Did not stop within the grace", action="background_cancelled", background=background.name)
        except Exception:  # noqa: BLE001 -- the others must still be stopped
            log.exception("Stopping failed", action="background_stop_failed", background=background.name)


def _ended_well(background: Background, task: asyncio.Task[None]) -> bool:
    if task.done() and not task.cancelled() and (error := task.exception()) is not None:
        log.error("Failed while stopping", action="background_failed", background=background.name, exc_info=error)
        return False
    return True


def _explain_end(background: Background, error: BaseException | None) -> None:
    if isinstance(error, TooManyDeadLetters):  # says what to do; where in our code it was noticed does not matter
        log.critical(str(error), action="too_many_dead_letters", background=background.name)
        return
    log.critical(
        "A background task ended by itself, going down",
        action="background_ended",
        background=background.name,
        exc_info=error,
    )


async def _run(background: Background) -> None:
    await background.run()
