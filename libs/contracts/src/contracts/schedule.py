"""The state of each config's schedule. Topic `schedule-state`, compacted, keyed by config id."""

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import Field
from typing_extensions import override

from contracts.bounds import RowId, Version
from contracts.coverage import SeriesProgress, progress_of_version_1
from contracts.event import SCHEMA_VERSION_DESCRIPTION, Event, Instant, SchemaVersion
from contracts.vocabulary import ExchangeId, IntervalMinutes, Symbol, Timeframes

MAX_PROGRESS: Final = 200
"""The largest number of timeframes with progress. It is larger than the number of timeframes of a config, because a
config may have had others before.
"""


class JobScheduled(Event):
    """The state of one config's schedule. A scheduler publishes it after each tick and restores it with the partition.

    A tombstone under the same key means that the config was deleted.
    """

    schema_version: SchemaVersion = Field(default=2, description=SCHEMA_VERSION_DESCRIPTION)
    type: Literal["JobScheduled"] = "JobScheduled"
    config_id: RowId = Field(description="The config of the schedule.")
    config_version: Version = Field(description="The version of the config on which this state is based.")
    exchange: ExchangeId
    symbol: Symbol
    timeframes: Timeframes = Field(description="With exchange and symbol: the series that the config collects.")
    interval_minutes: IntervalMinutes = Field(description="The interval of the grid of last_slot and next_fire_at.")
    active: bool = Field(description="False if the config is disabled. No tick will be published.")
    last_slot: Instant | None = Field(
        description="The latest slot with a published tick. Without one: the time after which slots count."
    )
    next_fire_at: Instant | None = Field(description="The next slot. Null if the schedule is not active.")
    progress: tuple[SeriesProgress, ...] = Field(
        default=(),
        max_length=MAX_PROGRESS,
        description="The progress per timeframe. It also holds timeframes that the config no longer has, so that they "
        "continue if they are added again.",
    )

    @override
    @classmethod
    def upgraded(cls, document: dict[str, Any]) -> dict[str, Any]:
        """Version 1 had one `covered_until` for all timeframes."""
        if "progress" in document or not document.get("covered_until"):
            return document
        return {**document, "progress": progress_of_version_1(document["timeframes"], document["covered_until"])}

    @property
    def covered_until(self) -> datetime | None:
        """The earliest anchor of the config's timeframes. None if one of them has no candle yet."""
        anchors = {each.timeframe: each.anchor for each in self.progress}
        found = [anchors.get(timeframe) for timeframe in self.timeframes]
        known = [anchor for anchor in found if anchor is not None]
        return min(known) if len(known) == len(found) else None

    @override
    def key(self) -> str:
        return str(self.config_id)
