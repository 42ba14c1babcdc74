"""Runs that are due. Topic `ticks`, keyed by lane, so that one collector at a time owns an exchange's rate limit."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid5

from pydantic import Field
from typing_extensions import override

from contracts.bounds import MAX_DEADLINE, MAX_TIMEFRAMES, Count
from contracts.configs import CollectionConfig
from contracts.coverage import SeriesProgress, progress_of_version_1
from contracts.event import SCHEMA_VERSION_DESCRIPTION, Event, Instant, SchemaVersion
from contracts.vocabulary import Lane, Trigger

_RUN_NAMESPACE = UUID("5b0f6d0e-5f43-4f0e-9a3c-0a8c1c9d7e11")


class TickDue(Event):
    """A run is due. The event contains all that a collector needs for the run."""

    schema_version: SchemaVersion = Field(default=2, description=SCHEMA_VERSION_DESCRIPTION)
    type: Literal["TickDue"] = "TickDue"
    run_id: UUID = Field(
        description="Computed from config and slot: the same slot gives the same id in every scheduler. For a "
        "manual run: the id in the responses to its triggers."
    )
    config: CollectionConfig = Field(description="The config at the time when the tick was published.")
    trigger: Trigger = Field(description="The reason for the run: a slot, a new config, or a request.")
    scheduled_for: Instant = Field(
        description="The slot. For a manual or initial run: when it was requested (by the first of several triggers)."
    )
    progress: tuple[SeriesProgress, ...] = Field(
        default=(),
        max_length=MAX_TIMEFRAMES,
        description="Where to continue, per timeframe. A timeframe without an entry has no known candle: the run "
        "collects the newest page.",
    )
    deadline_seconds: int = Field(
        gt=0,
        le=int(MAX_DEADLINE.total_seconds()),
        description="The longest time that the run may take after its start, in seconds.",
    )
    lane: Lane = Field(description="The exchange id, plus #n if the exchange has more than one lane.")
    missed_slots: Count = Field(
        default=0, description="The number of earlier slots that this tick also covers, after downtime."
    )

    @override
    @classmethod
    def upgraded(cls, document: dict[str, Any]) -> dict[str, Any]:
        """Version 1 had one `window_start` for all timeframes."""
        if "progress" in document or not document.get("window_start"):
            return document
        timeframes = document["config"]["timeframes"]
        return {**document, "progress": progress_of_version_1(timeframes, document["window_start"])}

    def progress_of(self, timeframe: str) -> SeriesProgress:
        """The progress of the timeframe: where the run continues."""
        found = (each for each in self.progress if each.timeframe == timeframe)
        return next(found, SeriesProgress(timeframe=timeframe))

    @override
    def key(self) -> str:
        return self.lane


def slot_run_id(config_id: int, slot: datetime) -> UUID:
    """The id of the run of a slot. The slot needs a time zone, and its microseconds are part of the id."""
    return uuid5(_RUN_NAMESPACE, f"{config_id}@{slot.astimezone(UTC).isoformat(timespec='microseconds')}")


def initial_run_id(config_id: int, version: int) -> UUID:
    """The id of the initial run, which starts at once if this version creates or enables the config."""
    return uuid5(_RUN_NAMESPACE, f"{config_id}#v{version}")


def resync_run_id(config_id: int, version: int, resynced_at: datetime) -> UUID:
    """The id of the run that starts at once if a resync brings the config to a Kafka cluster without its schedule.

    It differs from `initial_run_id`, because the run log may already contain the initial run of this version.
    """
    instant = resynced_at.astimezone(UTC).isoformat(timespec="microseconds")
    return uuid5(_RUN_NAMESPACE, f"{config_id}#v{version}@{instant}")


def lane_of(exchange: str, config_id: int, lanes: Mapping[str, int]) -> str:
    """The lane of a config. `lanes` maps an exchange id to its number of lanes; the default is 1."""
    count = lanes.get(exchange, 1)
    return exchange if count <= 1 else f"{exchange}#{config_id % count}"
