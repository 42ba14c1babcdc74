"""The base classes of all events."""

from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from contracts.bounds import END_OF_INSTANTS, FIRST_INSTANT, MAX_INT


def _to_utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC)


Instant = Annotated[AwareDatetime, Field(ge=FIRST_INSTANT, lt=END_OF_INSTANTS), AfterValidator(_to_utc)]
"""A point in time with a zone, from 1970 to 2199. Always UTC in memory and on the wire."""


SchemaVersion = Annotated[int, Field(ge=1, le=MAX_INT)]
SCHEMA_VERSION_DESCRIPTION: Final = "Raised if the meaning of a field changes. New fields do not raise it."


class Model(BaseModel):
    """A frozen value. Unknown fields are ignored, so that an old consumer reads a newer producer's events."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, json_schema_extra=None)


class Event(Model):
    """A fact that a service publishes. A consumer needs no other data to handle it. The name of an event is in the past
    tense.
    """

    schema_version: SchemaVersion = Field(default=1, description=SCHEMA_VERSION_DESCRIPTION)
    event_id: UUID = Field(default_factory=uuid4, description="Unique per event. It is also the CloudEvents id.")
    occurred_at: Instant = Field(description="When it happened, by the producer's clock, in UTC.")

    @classmethod
    def upgraded(cls, document: dict[str, Any]) -> dict[str, Any]:
        """Converts a valid document of an earlier schema version to the form of the current version. Raises
        `ValueError` or `OverflowError` if a value has no equivalent.

        This is not a validator of the model, because a validator would also slow down the reading of messages of the
        current version.
        """
        return document

    def key(self) -> str:
        """The Kafka key. It determines the partition, and so also the order of the events and the consumer that handles
        them.
        """
        raise NotImplementedError


def event_type(event: type[Event] | Event) -> str:
    """The event's name in Kafka, such as `TickDue`: the value of its `type` field."""
    return _name_of(event if isinstance(event, type) else type(event))


@cache
def _name_of(event: type[Event]) -> str:
    return str(event.model_fields["type"].default)
