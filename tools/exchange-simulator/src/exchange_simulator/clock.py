"""The simulated clock: real time by default, shifted or stopped on request."""

from collections.abc import Callable
from dataclasses import dataclass, field

from exchange_simulator.timeframes import clamp


@dataclass(slots=True)
class Clock:
    """`wall` returns real seconds since the epoch. All other times are in milliseconds."""

    wall: Callable[[], float]
    offset_ms: int = 0
    frozen_at_ms: int | None = field(default=None)

    def now_ms(self) -> int:
        return clamp(self.wall_ms() + self.offset_ms if self.frozen_at_ms is None else self.frozen_at_ms)

    def wall_ms(self) -> int:
        return int(self.wall() * 1_000)

    def run_from(self, now_ms: int) -> None:
        """Set the time to `now_ms`; it continues from there."""
        self.offset_ms, self.frozen_at_ms = now_ms - self.wall_ms(), None

    def freeze(self, now_ms: int) -> None:
        self.frozen_at_ms = now_ms

    def shift(self, offset_ms: int) -> None:
        """Set the clock to real time plus a constant. 0 is real time."""
        self.offset_ms, self.frozen_at_ms = offset_ms, None
