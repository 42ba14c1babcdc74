"""A model of one config's schedule, for the state machine: slot by slot, and each verified span."""

from dataclasses import dataclass, field

from contracts.configs import CollectionConfig
from contracts.spans import Intervals, subtract
from contracts.ticks import TickDue
from scheduler.grid import Grid, grid_of
from scheduler.progress import CLOCK_TOLERANCE_MS
from support.schedules import SPREAD_MS


@dataclass
class ConfigModel:
    """One config, in the simplest way: slot by slot."""

    config: CollectionConfig
    settled: int | None = None
    """Every slot up to here has its tick or was reported as missed."""
    initial_pending: bool = True
    first: dict[str, int] = field(default_factory=dict)
    """By timeframe: the first anchor. From here on, nothing may be forgotten."""
    not_stored: set[str] = field(default_factory=set)
    """Timeframes whose first anchor came while an initial tick was pending, so that no state has it yet."""
    verified: dict[tuple[str, str], Intervals] = field(default_factory=dict)
    """By symbol and timeframe, from all results."""
    ticks: list[TickDue] = field(default_factory=list)
    unfinished: list[TickDue] = field(default_factory=list)

    @property
    def grid(self) -> Grid:
        return grid_of(self.config.config_id, self.config.interval_minutes, SPREAD_MS)

    def clamp_to_now(self, now: int, latest_anchor: int) -> None:
        """Times in the future become now."""
        if max(self.settled or 0, latest_anchor) > now + CLOCK_TOLERANCE_MS and self.settled is not None:
            self.settled = min(self.settled, now)

    def unread(self, timeframe: str, until: int) -> Intervals:
        """The time since the first anchor that no answer has verified."""
        if timeframe not in self.first:
            return ()
        return subtract([(self.first[timeframe], until)], self.verified.get((self.config.symbol, timeframe), ()))

    def slots(self, until: int) -> list[int]:
        assert self.settled is not None
        slots, slot = [], self.grid.slot_after(self.settled)
        while slot <= until:
            slots.append(slot)
            slot += self.grid.interval_ms
        return slots
