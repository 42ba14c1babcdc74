"""Where a config's schedule stands, as kept by the scheduler. Topic `schedule-state`, compacted, keyed by config id."""

from typing import Literal

from pydantic import Field
from typing_extensions import override

from contracts.event import Event, Instant
from contracts.vocabulary import ExchangeId, Symbol, Timeframes


class JobScheduled(Event):
    """The scheduler's memory of one config: published after each tick, read back when a partition changes hands.

    A tombstone under the same key says that the config is gone.
    """

    type: Literal["JobScheduled"] = "JobScheduled"
    config_id: int = Field(gt=0, description="The config whose schedule this is.")
    config_version: int = Field(gt=0, description="The version of the config that this state follows.")
    exchange: ExchangeId
    symbol: Symbol
    timeframes: Timeframes = Field(description="With exchange and symbol: the series that `covered_until` speaks of.")
    interval_minutes: int = Field(ge=1, description="The interval of the grid that last_slot and next_fire_at lie on.")
    active: bool = Field(description="False when the config is disabled: nothing will fire.")
    last_slot: Instant | None = Field(
        description="The latest slot for which a tick was emitted, or the instant from which slots count."
    )
    next_fire_at: Instant | None = Field(description="The next slot; null when not active.")
    covered_until: Instant | None = Field(
        description="Up to here a successful run has collected; the next window starts here. Null: nothing yet."
    )

    @override
    def key(self) -> str:
        return str(self.config_id)
