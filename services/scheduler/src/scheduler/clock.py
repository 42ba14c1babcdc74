"""The wall clock, as an argument, and an eye on whether somebody set it."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Now, in milliseconds since the epoch."""

_TOLERATED_MS = 1000


def wall_clock() -> int:
    return time.time_ns() // 1_000_000


class ClockWatch:
    """Compares the wall clock with the monotonic one. Small corrections, as of NTP, are none of its business."""

    def __init__(self) -> None:
        self._before: tuple[int, float] | None = None

    def step(self, wall_ms: int, monotonic: float) -> int:
        """By how many milliseconds the wall clock was set since the last reading; 0 when it just ran."""
        before, self._before = self._before, (wall_ms, monotonic)
        if before is None:
            return 0
        step = (wall_ms - before[0]) - round((monotonic - before[1]) * 1000)
        return step if abs(step) > _TOLERATED_MS else 0
