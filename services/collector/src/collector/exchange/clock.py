"""What time it is at an exchange: its clock decides which candle is closed, not ours."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

_REMEMBERED: Final = 50
_LARGEST_LEAD_SECONDS: Final = 600.0
"""An exchange further ahead of us than this is not believed: we would take open candles for closed ones. One that is
behind may be as far behind as it likes: at worst we collect a candle later."""

_STEP_SECONDS: Final = 5.0
"""An answer dated so much earlier than expected was very slow, or the exchange's clock was set back: believe it."""


class ExchangeClock:
    """The latest instant that the exchange has certainly reached, from the Date headers of its answers.

    An answer dated 12:00:05 was sent at 12:00:05.0 at the earliest and has been under way since, so the exchange's
    time is at least 12:00:05 plus what has passed since its arrival. The best of the last answers is within a
    fraction of a second of the truth, and never ahead of it. Counted on the monotonic clock: a correction of our own
    wall clock changes nothing. Without dates, or with dates that cannot be true, our wall clock is taken.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self.monotonic = monotonic
        self._bounds: deque[float] = deque(maxlen=_REMEMBERED)

    def observe(self, dated: float) -> None:
        """An answer dated so (seconds since the epoch) has just arrived."""
        if dated - self._wall() > _LARGEST_LEAD_SECONDS:
            return
        bound = dated - self.monotonic()
        if self._bounds and bound < max(self._bounds) - _STEP_SECONDS:
            self._bounds.clear()
        self._bounds.append(bound)

    def now(self) -> float:
        """Seconds since the epoch."""
        wall = self._wall()
        if not self._bounds:
            return wall
        estimate = self.monotonic() + max(self._bounds)
        return min(estimate, wall + _LARGEST_LEAD_SECONDS)

    def now_ms(self) -> int:
        return int(self.now() * 1000)

    def skew(self) -> float:
        """Seconds by which the exchange is ahead of us, as far as we know."""
        return self.now() - self._wall()
