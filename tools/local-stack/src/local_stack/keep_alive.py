"""Keeps one process of the stack running: one that ends unasked is started again, after growing pauses, and said so."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from local_stack.errors import StackError
from local_stack.processes import Child
from runtime.waiting import exponential_delay

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 30.0
BAD_SETTINGS = 2  # the exit code with which our services refuse what they were told: trying again cannot help
LOG_LINES = 5


class Running(Protocol):
    @property
    def child(self) -> Child | None:
        """None: not ours to watch."""

    async def stop(self) -> None: ...


@dataclass(frozen=True)
class ServiceProcess:
    child: Child

    async def stop(self) -> None:
        await self.child.stop()


R = TypeVar("R", bound=Running)


def restart_pause(failures: int) -> float:
    """Seconds before the next start, after so many failures in a row."""
    return exponential_delay(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, failures - 1)


class KeptAlive(Generic[R]):
    """`start` must be repeatable. `restarted` is told of every start but the first."""

    def __init__(
        self,
        name: str,
        start: Callable[[], Awaitable[R]],
        say: Callable[[str], None],
        restarted: Callable[[R], Awaitable[None]] | None = None,
    ) -> None:
        self.name = name
        self.failures = 0
        self.last_words: list[str] = []
        self._start, self._say, self._restarted = start, say, restarted
        self._running: R | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def running(self) -> R:
        if self._running is None:
            raise StackError(f"{self.name} does not run")
        return self._running

    @property
    def is_running(self) -> bool:
        return self._running is not None and (self._running.child is None or self._running.child.exit_code is None)

    async def start(self) -> R:
        self._running = await self._start()
        self._watcher = asyncio.create_task(self._watch(), name=f"watch {self.name}")
        return self._running

    async def stop(self) -> None:
        """Stop it and leave it stopped; `start` brings it back."""
        await self._stop_watching()
        if self._running is not None:
            await self._running.stop()
            self._running = None

    async def halt(self) -> None:
        """Kill it at once and leave it dead; `start` brings it back."""
        await self._stop_watching()
        if self._running is not None and self._running.child is not None:
            self._running.child.kill()
            await self._running.child.wait()
            self._running = None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, as from outside: what ends it is a failure, and it is started again."""
        child = self.running.child
        if child is None:
            raise StackError(f"{self.name} is not ours to signal")
        child.signal(number)

    async def _stop_watching(self) -> None:
        if self._watcher is not None and self._watcher is not asyncio.current_task():
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        self._watcher = None

    async def _watch(self) -> None:
        while self._running is not None and (child := self._running.child) is not None:
            code = await child.wait()
            steady = time.monotonic() - child.started_at > STEADY_SECONDS
            self.failures = 1 if steady else self.failures + 1
            self.last_words = child.last_lines(LOG_LINES)
            self._say(_obituary(self.name, code, child))
            if code == BAD_SETTINGS:
                self._say(f"{self.name} is not started again: it refuses its settings")
                return
            await self._start_again()

    async def _start_again(self) -> None:
        while True:
            pause = restart_pause(self.failures)
            await asyncio.sleep(pause)
            try:
                self._running = await self._start()
            except StackError as error:
                self.failures += 1
                self._say(f"{self.name} could not be started again: {error}")
                continue
            self._say(f"{self.name} was started again")
            if self._restarted is not None:
                await self._restarted(self._running)
            return


def _obituary(name: str, code: int, child: Child) -> str:
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    lines = "".join(f"\n    | {line}" for line in child.last_lines(LOG_LINES))
    return f"{name} {how}; its last lines ({child.log_file}):{lines}"
