"""Runs that are due. Topic `ticks`, keyed by lane, so that one collector at a time owns an exchange's rate limit."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID, uuid5

from pydantic import Field, computed_field
from typing_extensions import override

from contracts.configs import CollectionConfig
from contracts.event import Event, Instant
from contracts.vocabulary import Trigger

_RUN_NAMESPACE = UUID("5b0f6d0e-5f43-4f0e-9a3c-0a8c1c9d7e11")


class TickDue(Event):
    """A run is due. The event contains all that a collector needs for the run."""

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
    window_start: Instant | None = Field(
        description="Collect from here, the end of the last successful run. Null: no run has succeeded yet, so collect "
        "one full page."
    )
    deadline_seconds: int = Field(
        gt=0, description="The longest time that the run may take after its start, in seconds."
    )
    lane: str = Field(min_length=1, description="The exchange id, plus #n if the exchange has more than one lane.")
    missed_slots: int = Field(
        default=0, ge=0, description="The number of earlier slots that this tick also covers, after downtime."
    )

    @computed_field(  # type: ignore[prop-decorator] # mypy supports no decorators on a property
        description="Not used: a run collects up to now. It is sent because collectors of the previous release need it."
    )
    @property
    def window_end(self) -> datetime:
        """Written but never read. It can be removed when no collector of an older release can be running."""
        return self.scheduled_for

    @override
    def key(self) -> str:
        return self.lane


def slot_run_id(config_id: int, slot: datetime) -> UUID:
    """The id of the run of a slot. The slot needs a time zone, and its microseconds are part of the id."""
    return uuid5(_RUN_NAMESPACE, f"{config_id}@{slot.astimezone(UTC).isoformat(timespec='microseconds')}")


def initial_run_id(config_id: int, version: int) -> UUID:
    """The id of the run that starts at once if this version creates or enables the config."""
    return uuid5(_RUN_NAMESPACE, f"{config_id}#v{version}")


def lane_of(exchange: str, config_id: int, lanes: Mapping[str, int]) -> str:
    """The lane of a config. `lanes` maps an exchange id to its number of lanes; the default is 1."""
    count = lanes.get(exchange, 1)
    return exchange if count <= 1 else f"{exchange}#{config_id % count}"
