"""What every event has in common."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field


def _to_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:  # pydantic turns only a ValueError into "not valid"
        raise ValueError("a time that cannot be given in UTC") from error


Instant = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""A point in time with a zone, always UTC in memory and on the wire."""


class Model(BaseModel):
    """A frozen value. Unknown fields are ignored, so that an old consumer reads a newer producer's events."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, json_schema_extra=None)


class Event(Model):
    """News: something happened. Past tense, self-sufficient, and it knows its own Kafka key."""

    schema_version: int = Field(
        default=1, description="Raised when a field changes its meaning; new fields do not raise it."
    )
    event_id: UUID = Field(default_factory=uuid4, description="Unique per event; the CloudEvents id.")
    occurred_at: Instant = Field(description="When it happened, by the producer's clock, in UTC.")

    def key(self) -> str:
        """The Kafka key: it decides the partition, and with that the order and the owner."""
        raise NotImplementedError


def event_type(event: type[Event] | Event) -> str:
    """The event's name on the wire, e.g. `TickDue`: the value of its `type` field."""
    fields: dict[str, Any] = (event if isinstance(event, type) else type(event)).model_fields
    return str(fields["type"].default)
