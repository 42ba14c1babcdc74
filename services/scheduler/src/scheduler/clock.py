"""The wall clock as an argument, and the detection of clock steps."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns the current time in milliseconds since the epoch."""

_TOLERATED_MS = 1000


def wall_clock() -> int:
    return time.time_ns() // 1_000_000


class ClockWatch:
    """Compares the wall clock with the monotonic clock. Small corrections, such as by NTP, are ignored."""

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None

    def step(self, wall_ms: int, monotonic: float) -> int:
        """The size of the step of the wall clock since the last reading, in milliseconds; 0 if there was none."""
        last, self._last = self._last, (wall_ms, monotonic)
        if last is None:
            return 0
        step = (wall_ms - last[0]) - round((monotonic - last[1]) * 1000)
        return step if abs(step) > _TOLERATED_MS else 0
