"""The configs to collect, as published by admin-api. Topic `config-changes`, compacted, keyed by config id."""

from typing import Literal

from pydantic import Field
from typing_extensions import override

from contracts.bounds import RowId, Version
from contracts.event import Event, Instant, Model
from contracts.vocabulary import ExchangeId, IntervalMinutes, Symbol, Timeframes


class CollectionConfig(Model):
    """The full state of a config at one version."""

    config_id: RowId = Field(description="The config's id in the API and in data_collection_configs.")
    version: Version = Field(
        description="Every change raises it. Consumers ignore versions older than the one that they have, unless "
        "theirs is implausibly high."
    )
    exchange: ExchangeId
    symbol: Symbol
    timeframes: Timeframes
    interval_minutes: IntervalMinutes = Field(description="The number of minutes between two runs.")
    enabled: bool = Field(description="Whether the scheduler publishes ticks for the config.")
    updated_at: Instant = Field(
        description="When this version was written. On a new grid, slots before this time are ignored."
    )


class ConfigChanged(Event):
    """A config was created or changed. The event contains the whole new state."""

    type: Literal["ConfigChanged"] = "ConfigChanged"
    config: CollectionConfig = Field(description="The whole new state.")
    resynced: bool = Field(
        default=False,
        description="Whether the config is published again without a change, for example to a new Kafka cluster. Its "
        "run at this version may have ended long ago. So a scheduler without a state of it starts another run.",
    )

    @override
    def key(self) -> str:
        return str(self.config.config_id)


class ConfigRemoved(Event):
    """A config was deleted. A tombstone under the same key follows, so that compaction removes it."""

    type: Literal["ConfigRemoved"] = "ConfigRemoved"
    config_id: RowId = Field(description="The config that was deleted.")
    version: Version = Field(description="One more than the last published version.")

    @override
    def key(self) -> str:
        return str(self.config_id)
