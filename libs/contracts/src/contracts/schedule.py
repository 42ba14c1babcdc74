"""The state of each config's schedule. Topic `schedule-state`, compacted, keyed by config id."""

from typing import Literal

from pydantic import Field
from typing_extensions import override

from contracts.event import Event, Instant
from contracts.vocabulary import ExchangeId, Symbol, Timeframes


class JobScheduled(Event):
    """The state of one config's schedule. A scheduler publishes it after each tick and restores it with the partition.

    A tombstone under the same key means that the config was deleted.
    """

    type: Literal["JobScheduled"] = "JobScheduled"
    config_id: int = Field(gt=0, description="The config of the schedule.")
    config_version: int = Field(gt=0, description="The version of the config on which this state is based.")
    exchange: ExchangeId
    symbol: Symbol
    timeframes: Timeframes = Field(description="With exchange and symbol: the series to which `covered_until` applies.")
    interval_minutes: int = Field(ge=1, description="The interval of the grid of last_slot and next_fire_at.")
    active: bool = Field(description="False if the config is disabled. No tick will be published.")
    last_slot: Instant | None = Field(
        description="The latest slot with a published tick. Without one: the time after which slots count."
    )
    next_fire_at: Instant | None = Field(description="The next slot. Null if the schedule is not active.")
    covered_until: Instant | None = Field(
        description="The end of the last successful run; the next window starts here. Null: no run has succeeded yet."
    )

    @override
    def key(self) -> str:
        return str(self.config_id)
