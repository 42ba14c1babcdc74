"""The loop: reads the wall clock, hands what is due to the lanes, and sleeps until the next slot or the next news."""

import asyncio
import time
from collections.abc import Callable

from runtime.logs import log
from runtime.waiting import wait_for_event
from scheduler.clock import Clock, ClockWatch
from scheduler.due_queue import DueQueue
from scheduler.metrics import SchedulerMetrics
from scheduler.tick_publisher import TickPublisher

_PER_TURN = 2000
"""After downtime everything is due at once; the loop must still breathe, or the group takes it for dead."""
_STUCK_SECONDS = 30.0
_SHORTEST_SLEEP = 0.001


class Ticker:
    """Sleeps are monotonic and short, decisions read the wall clock: setting it neither wakes a storm nor repeats."""

    def __init__(
        self,
        *,
        due_queue: DueQueue,
        tick_publisher: TickPublisher,
        clock: Clock,
        metrics: SchedulerMetrics,
        doubt: Callable[[], str | None],
        clock_set_back: Callable[[int], None],
        clock_check_seconds: float,
    ) -> None:
        """`doubt` says why this instance may no longer own its partitions, None when it surely does; `clock_set_back`
        is told what time it is now.
        """
        self._due_queue, self._tick_publisher, self._clock, self._metrics = due_queue, tick_publisher, clock, metrics
        self._doubt, self._longest_sleep = doubt, clock_check_seconds
        self._clock_set_back = clock_set_back
        self._watch = ClockWatch()
        self._stopping = False
        self._doubting = False
        self._turned_at: float | None = None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while not self._stopping:
                await self._sleep(self._turn(self._clock(), tasks))

    async def stop(self) -> None:
        """No new tick from here on; `run` ends when the ticks in hand are acknowledged."""
        self._stopping = True
        self._tick_publisher.close()
        self._due_queue.earlier.set()

    def liveness(self) -> str | None:
        if self._turned_at is None or self._stopping:
            return None
        age = time.monotonic() - self._turned_at
        return f"the ticker has not turned for {age:.0f} s" if age > _STUCK_SECONDS else None

    def _turn(self, now: int, tasks: asyncio.TaskGroup) -> float:
        """Hand over what is due. Returns how many seconds may pass until the next turn."""
        self._turned_at = time.monotonic()
        self._due_queue.earlier.clear()
        self._look_at_clock(self._watch.step(now, self._turned_at), now)
        if self._in_doubt():
            return self._longest_sleep
        due = self._due_queue.pop_due(now, _PER_TURN)
        for config_id in due:
            self._tick_publisher.enqueue(config_id, tasks)
        if len(due) == _PER_TURN:
            return 0
        next_at = self._due_queue.next_at()
        if next_at is None:
            return self._longest_sleep
        return min(self._longest_sleep, max(_SHORTEST_SLEEP, (next_at - now) / 1000))

    async def _sleep(self, seconds: float) -> None:
        if seconds == 0:
            await asyncio.sleep(0)
            return
        await wait_for_event(self._due_queue.earlier, seconds)

    def _in_doubt(self) -> bool:
        reason = self._doubt()
        if (reason is not None) != self._doubting:
            self._doubting = reason is not None
            if reason is not None:
                log.warning("Holding all ticks: may no longer own them", action="ticks_paused", reason=reason)
            else:
                log.info("Ticking again", action="ticks_resumed")
        return self._doubting

    def _look_at_clock(self, step_ms: int, now: int) -> None:
        if step_ms == 0:
            return
        direction = "forward" if step_ms > 0 else "backward"
        self._metrics.clock_steps.labels(direction).inc()
        log.warning(
            "The wall clock was set", action="clock_step", direction=direction, seconds=round(abs(step_ms) / 1000, 3)
        )
        if step_ms < 0:
            self._clock_set_back(now)
