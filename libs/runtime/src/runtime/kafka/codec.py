"""Events to bytes and back: JSON bodies with CloudEvents 1.0 headers (binary content mode)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Union

from pydantic import Discriminator, TypeAdapter, ValidationError
from pydantic_core import core_schema, from_json

from contracts.event import Event, event_type
from contracts.topics import Topic


class UnreadableMessage(Exception):  # noqa: N818 -- the name states the problem
    """These bytes are not an event of this topic. A retry does not help."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A message with a null value. It means that the key was deleted."""

    topic: Topic
    key: str

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        return core_schema.is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: Any, _handler: Any) -> dict[str, Any]:
        """The schema of a tombstone (null), for AsyncAPI."""
        return {"type": "null", "title": cls.__name__, "description": "A null value: the key is gone."}


def encode(event: Event, source: str = "candlekeep") -> tuple[bytes, dict[str, str]]:
    """The message's value and headers. `source` names the producing service."""
    headers = {
        "content-type": "application/json",
        "correlation_id": str(event.event_id),  # the documents of the topics promise it
        "ce_specversion": "1.0",
        "ce_id": str(event.event_id),
        "ce_type": event_type(event),
        "ce_source": f"/candlekeep/{source}",
        "ce_time": event.occurred_at.isoformat(),
    }
    return event.model_dump_json().encode(), headers


def decode(topic: Topic, value: bytes | None) -> Event:
    """The event in a message's value.

    Raises `UnreadableMessage` if the message cannot be read, for example because its value is null.
    """
    if value is None:
        raise UnreadableMessage("the message has no value")
    try:
        event = _adapter(topic.events).validate_json(value)
        known = _known_version(type(event))
        if event.schema_version < known:
            event = type(event).model_validate(event.upgraded(from_json(value)))
    except ValidationError as error:
        raise UnreadableMessage(_reason(topic, error)) from error
    except (ValueError, ArithmeticError, AttributeError, LookupError, TypeError) as error:
        # A validator or a conversion of a contract failed with an unexpected error. This must not stop the consumer.
        raise UnreadableMessage(f"cannot be validated: {error!r:.500}") from error
    if event.schema_version > known:
        raise UnreadableMessage(f"schema_version {event.schema_version} is newer than this program knows ({known})")
    return event


def event_union(events: Sequence[type[Event]]) -> Any:
    """The union of these event types, discriminated by their `type` field."""
    if len(events) == 1:
        return events[0]
    return Annotated[Union[tuple(events)], Discriminator("type")]  # noqa: UP007 -- made at run time


@cache
def _known_version(event: type[Event]) -> int:
    """The schema version that this program writes."""
    version: int = event.model_fields["schema_version"].default
    return version


@cache
def _adapter(events: tuple[type[Event], ...]) -> TypeAdapter[Event]:
    return TypeAdapter(event_union(events))


def _reason(topic: Topic, error: ValidationError) -> str:
    expected = " or ".join(event_type(event) for event in topic.events)
    details = error.errors(include_url=False, include_context=False, include_input=False)
    first = details[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"not a valid {expected}: {where + ': ' if where else ''}{first['msg']}{more}"[:1000]
