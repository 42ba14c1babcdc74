"""The time at an exchange. The exchange's clock decides if a candle is closed, not ours."""

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from math import inf
from typing import Final

_MAX_BOUNDS: Final = 50
_MAX_LEAD_SECONDS: Final = 600.0
"""A date that is further ahead of our clock is ignored, because open candles would count as closed. A date in the past
is always accepted. At worst, a candle is collected later.
"""

_STEP_SECONDS: Final = 5.0
"""If a date is this much earlier than expected, the response was very slow or the exchange's clock was set back. The
date is then accepted."""


_MAX_RESPONSE_SECONDS: Final = 60.0
"""A response that takes longer than this does not confirm the time of its request."""


class ExchangeClock:
    """The latest time that the exchange has certainly reached, from the Date headers of its responses.

    For example, a response with the date 12:00:05 was sent at 12:00:05.0 or later. So the exchange's time is at least
    12:00:05 plus the time since the response arrived. The highest of the last bounds is within a fraction of a second
    of the true time, and never ahead of it. Time is measured with the monotonic clock, so that a correction of our wall
    clock has no effect. If dates are missing or invalid, our wall clock is used.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self.monotonic = monotonic
        self._bounds: deque[float] = deque(maxlen=_MAX_BOUNDS)
        self._highest = -inf
        """The highest of the bounds. It is computed once per response, because a run asks for the time many times."""
        self._is_contradicted = False

    def observe(self, response_date: float) -> None:
        """Record the date of a response that has just arrived (seconds since the epoch)."""
        self._is_contradicted = response_date - self._wall() > _MAX_LEAD_SECONDS
        if self._is_contradicted:
            return
        bound = response_date - self.monotonic()
        if bound < self._highest - _STEP_SECONDS:
            self._bounds.clear()
        self._bounds.append(bound)
        self._highest = max(self._bounds)

    def now(self) -> float:
        """Seconds since the epoch."""
        wall = self._wall()
        if not self._bounds:
            return wall
        estimate = self.monotonic() + self._highest
        return min(estimate, wall + _MAX_LEAD_SECONDS)

    def confirms(self, as_of_ms: int) -> bool:
        """Whether the exchange's dates (including the date of the response) show that a request was really sent at this
        time of `now_ms`.

        If they do not, the request may have been sent much later: our wall clock is behind, or the computer was
        suspended.
        """
        if not self._bounds or self._is_contradicted:
            return False
        estimate = self.monotonic() + self._highest
        is_wall_clock_right = estimate <= self._wall() + _MAX_LEAD_SECONDS
        return is_wall_clock_right and estimate - as_of_ms / 1000 <= _MAX_RESPONSE_SECONDS

    def fetch_time(self) -> datetime:
        """Our wall clock, but at most `_MAX_LEAD_SECONDS` ahead of the exchange's time.

        candle-writer keeps the newest fetch of a candle. So if our wall clock is hours ahead, it must not hide all
        later fetches.
        """
        return datetime.fromtimestamp(min(self._wall(), self.now() + _MAX_LEAD_SECONDS), UTC)

    def now_ms(self) -> int:
        return int(self.now() * 1000)

    def skew(self) -> float:
        """Estimated seconds by which the exchange's clock is ahead of ours."""
        return self.now() - self._wall()
