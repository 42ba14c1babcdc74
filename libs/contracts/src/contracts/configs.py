"""What to collect, as announced by admin-api. Topic `config-changes`, compacted, keyed by config id."""

from typing import Literal

from pydantic import Field
from typing_extensions import override

from contracts.event import Event, Instant, Model
from contracts.vocabulary import ExchangeId, Symbol, Timeframes


class CollectionConfig(Model):
    """A config's full state at one version."""

    config_id: int = Field(gt=0, description="The config's id in the API and in data_collection_configs.")
    version: int = Field(
        gt=0, description="Raised by every change; consumers drop versions older than the one they hold."
    )
    exchange: ExchangeId
    symbol: Symbol
    timeframes: Timeframes
    interval_minutes: int = Field(ge=1, le=10080, description="A run falls due every so many minutes.")
    enabled: bool = Field(description="Whether the scheduler emits ticks for it.")
    updated_at: Instant = Field(
        description="When this version was written; slots before it do not count on a new grid."
    )


class ConfigChanged(Event):
    """A config was created or changed; carries its whole new state."""

    type: Literal["ConfigChanged"] = "ConfigChanged"
    config: CollectionConfig = Field(description="The whole new state.")

    @override
    def key(self) -> str:
        return str(self.config.config_id)


class ConfigRemoved(Event):
    """A config was deleted. A tombstone under the same key follows, so that compaction forgets it."""

    type: Literal["ConfigRemoved"] = "ConfigRemoved"
    config_id: int = Field(gt=0, description="The config that is gone.")
    version: int = Field(gt=0, description="One more than the last version announced.")

    @override
    def key(self) -> str:
        return str(self.config_id)
