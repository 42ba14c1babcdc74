"""What is due. Topic `ticks`, keyed by lane, so that one collector at a time owns an exchange's rate budget."""

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
    """A run fell due. Carries all that a stateless collector needs to carry it out."""

    type: Literal["TickDue"] = "TickDue"
    run_id: UUID = Field(
        description="Deterministic per (config, slot): the same slot is the same run, whoever emits it. For a "
        "manual run: the id that its triggers were answered."
    )
    config: CollectionConfig = Field(description="The config as it was when the tick was emitted.")
    trigger: Trigger = Field(description="Why the run exists: its slot, a new config, or somebody asked.")
    scheduled_for: Instant = Field(
        description="The slot; for a manual or initial run, when it was asked for (the first of several triggers)."
    )
    window_start: Instant | None = Field(
        description="Collect from here, where the last successful run ended. Null: never collected, one full page back."
    )
    deadline_seconds: int = Field(gt=0, description="The run may take this long once it has started.")
    lane: str = Field(min_length=1, description="The exchange id, plus #n where an exchange has more than one lane.")
    missed_slots: int = Field(default=0, ge=0, description="Earlier slots that this tick makes up for, after downtime.")

    @computed_field(  # type: ignore[prop-decorator] # mypy supports no decorators on a property
        description="Not read: a run collects up to now. Sent because collectors of the previous release require it."
    )
    @property
    def window_end(self) -> datetime:
        """Only written, never read: it can be removed once no collector of an older release can still be running."""
        return self.scheduled_for

    @override
    def key(self) -> str:
        return self.lane


def slot_run_id(config_id: int, slot: datetime) -> UUID:
    """The id of the run of a slot (aware; second precision is enough, microseconds are kept)."""
    return uuid5(_RUN_NAMESPACE, f"{config_id}@{slot.astimezone(UTC).isoformat(timespec='microseconds')}")


def initial_run_id(config_id: int, version: int) -> UUID:
    """The id of the run that a config gets at once when this version creates or enables it."""
    return uuid5(_RUN_NAMESPACE, f"{config_id}#v{version}")


def lane_of(exchange: str, config_id: int, lanes: Mapping[str, int]) -> str:
    """The lane of a config. `lanes` maps exchange id to its number of lanes (1 where it is not named)."""
    count = lanes.get(exchange, 1)
    return exchange if count <= 1 else f"{exchange}#{config_id % count}"
