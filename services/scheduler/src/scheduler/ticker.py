"""The loop: reads the wall clock, queues due ticks in their lanes, and sleeps until the next slot or change."""

import asyncio
import time
from collections.abc import Callable

from runtime.logs import log
from runtime.waiting import wait_for_event
from scheduler.clock import Clock, ClockWatch
from scheduler.due_queue import DueQueue
from scheduler.metrics import SchedulerMetrics
from scheduler.tick_publisher import TickPublisher

_MAX_PER_TURN = 2000
"""Maximum number of due configs per turn. After downtime all configs are due at once, but the event loop must still
send heartbeats. Without them, the group would remove this member.
"""
_STUCK_SECONDS = 30.0
_MIN_SLEEP_SECONDS = 0.001


class Ticker:
    """Queues the due ticks. Sleeps are short and use the monotonic clock; decisions use the wall clock. So after a
    clock step, no tick is repeated, and there is no burst of ticks.
    """

    def __init__(
        self,
        *,
        due_queue: DueQueue,
        tick_publisher: TickPublisher,
        clock: Clock,
        metrics: SchedulerMetrics,
        ownership_problem: Callable[[], str | None],
        clock_set_back: Callable[[int], None],
        clock_check_seconds: float,
    ) -> None:
        """`ownership_problem` returns why another instance may own the partitions, or None if ownership is certain.
        `clock_set_back` is called with the current time after the clock was set back.
        """
        self._due_queue, self._tick_publisher, self._clock, self._metrics = due_queue, tick_publisher, clock, metrics
        self._ownership_problem, self._max_sleep_seconds = ownership_problem, clock_check_seconds
        self._clock_set_back = clock_set_back
        self._clock_watch = ClockWatch()
        self._stopping = False
        self._paused = False
        self._turned_at: float | None = None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while not self._stopping:
                await self._sleep(self._turn(self._clock(), tasks))

    async def stop(self) -> None:
        """Start no new tick. `run` ends when the ticks in flight are acknowledged."""
        self._stopping = True
        self._tick_publisher.close()
        self._due_queue.earlier.set()

    def liveness(self) -> str | None:
        if self._turned_at is None or self._stopping:
            return None
        age = time.monotonic() - self._turned_at
        return f"the ticker loop has been stuck for {age:.0f} s" if age > _STUCK_SECONDS else None

    def _turn(self, now: int, tasks: asyncio.TaskGroup) -> float:
        """Queue due ticks. Returns the seconds until the next turn."""
        self._turned_at = time.monotonic()
        self._due_queue.earlier.clear()
        self._check_clock(self._clock_watch.step(now, self._turned_at), now)
        if self._is_paused():
            return self._max_sleep_seconds
        due = self._due_queue.pop_due(now, _MAX_PER_TURN)
        for config_id in due:
            self._tick_publisher.enqueue(config_id, tasks)
        if len(due) == _MAX_PER_TURN:
            return 0
        next_at = self._due_queue.next_at()
        if next_at is None:
            return self._max_sleep_seconds
        return min(self._max_sleep_seconds, max(_MIN_SLEEP_SECONDS, (next_at - now) / 1000))

    async def _sleep(self, seconds: float) -> None:
        if seconds == 0:
            await asyncio.sleep(0)
            return
        await wait_for_event(self._due_queue.earlier, seconds)

    def _is_paused(self) -> bool:
        reason = self._ownership_problem()
        if (reason is not None) != self._paused:
            self._paused = reason is not None
            if reason is not None:
                log.warning(
                    "Ticks paused: this scheduler may have lost its partitions", action="ticks_paused", reason=reason
                )
            else:
                log.info("Ticks resumed: the ownership of the partitions is certain again", action="ticks_resumed")
        return self._paused

    def _check_clock(self, step_ms: int, now: int) -> None:
        if step_ms == 0:
            return
        direction = "forward" if step_ms > 0 else "backward"
        self._metrics.clock_steps.labels(direction).inc()
        log.warning(
            "The wall clock of this machine was set",
            action="clock_step",
            direction=direction,
            seconds=round(abs(step_ms) / 1000, 3),
        )
        if step_ms < 0:
            self._clock_set_back(now)
