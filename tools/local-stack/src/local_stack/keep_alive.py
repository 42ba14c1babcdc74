"""Keeps one process of the stack running: if it ends by itself, it is restarted with back-off and reported."""

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

INITIAL_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 30.0
BAD_SETTINGS = 2  # the exit code of a service with invalid settings: a restart cannot help
LOG_LINES = 5


class Running(Protocol):
    @property
    def child(self) -> Child | None:
        """None if the stack did not start the process."""

    async def stop(self) -> None: ...


@dataclass(frozen=True)
class ServiceProcess:
    child: Child

    async def stop(self) -> None:
        await self.child.stop()


R = TypeVar("R", bound=Running)


def restart_pause(failures: int) -> float:
    """The wait in seconds before the next start, after this number of failures in a row."""
    return exponential_delay(INITIAL_PAUSE_SECONDS, MAX_PAUSE_SECONDS, failures - 1)


class SupervisedProcess(Generic[R]):
    """A process that is restarted. `on_restart` is called after every start except the first."""

    def __init__(
        self,
        name: str,
        start: Callable[[], Awaitable[R]],
        report: Callable[[str], None],
        on_restart: Callable[[R], Awaitable[None]] | None = None,
    ) -> None:
        self.name = name
        self.failures = 0
        self.last_lines: list[str] = []
        self._start, self._report, self._on_restart = start, report, on_restart
        self._running: R | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def running(self) -> R:
        if self._running is None:
            raise StackError(f"{self.name} is not running")
        return self._running

    @property
    def is_running(self) -> bool:
        return self._running is not None and (self._running.child is None or self._running.child.exit_code is None)

    async def start(self) -> R:
        self._running = await self._start()
        self._watcher = asyncio.create_task(self._watch(), name=f"watch {self.name}")
        return self._running

    async def stop(self) -> None:
        """Stop the process. It is not restarted until `start`."""
        await self._stop_watching()
        if self._running is not None:
            await self._running.stop()
            self._running = None

    async def halt(self) -> None:
        """Kill the process. It is not restarted until `start`."""
        await self._stop_watching()
        if self._running is not None and self._running.child is not None:
            self._running.child.kill()
            await self._running.child.wait()
            self._running = None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process. If it ends, this counts as a failure and it is restarted."""
        child = self.running.child
        if child is None:
            raise StackError(f"{self.name} was not started by this stack, so it cannot get a signal")
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
            self.last_lines = child.last_lines(LOG_LINES)
            self._report(_exit_message(self.name, code, child))
            if code == BAD_SETTINGS:
                self._report(f"{self.name} is not restarted, because its settings are invalid")
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
                self._report(f"{self.name} could not be restarted: {error}")
                continue
            self._report(f"{self.name} was restarted")
            if self._on_restart is not None:
                await self._on_restart(self._running)
            return


def _exit_message(name: str, code: int, child: Child) -> str:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    lines = "".join(f"\n    | {line}" for line in child.last_lines(LOG_LINES))
    return f"{name} {how}; its last lines ({child.log_file}):{lines}"
