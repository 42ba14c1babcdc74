"""The grid of a config's slots.

Inside the scheduler an instant is an integer: milliseconds since the epoch, UTC. Datetimes are used only in events.
"""

from hashlib import blake2b
from typing import NamedTuple

MINUTE_MS = 60_000


class Grid(NamedTuple):
    """The slots `k * interval + phase` for every integer k. It has no state, so a restart cannot shift it."""

    interval_ms: int
    phase_ms: int

    def slot_at(self, instant: int) -> int:
        """The latest slot at or before the instant."""
        return instant - (instant - self.phase_ms) % self.interval_ms

    def slot_after(self, instant: int) -> int:
        """The first slot after the instant."""
        return self.slot_at(instant) + self.interval_ms

    def slots_between(self, after: int, until: int) -> int:
        """Number of slots in (after, until]; 0 if `until` is not later than `after`."""
        return max(0, (self.slot_at(until) - self.slot_at(after)) // self.interval_ms)


def grid_of(config_id: int, interval_minutes: int, spread_ms: int) -> Grid:
    """The config's grid. The phase is a hash of the id, within the spread: configs with the same interval are not all
    due in the same second. Python's `hash` is not used, because it differs between processes.
    """
    interval_ms = interval_minutes * MINUTE_MS
    number = int.from_bytes(blake2b(str(config_id).encode(), digest_size=8).digest(), "big")
    return Grid(interval_ms, number % max(1, min(interval_ms, spread_ms)))
