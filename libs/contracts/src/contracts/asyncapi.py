"""The topics as an AsyncAPI document: for tools that make clients, validate messages or draw the flow."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from contracts.event import Event, event_type
from contracts.topics import Topic

_VERSION: Final = "3.0.0"
_REFERENCE: Final = "#/components/schemas/{model}"


def asyncapi_document(topics: Iterable[Topic]) -> dict[str, Any]:
    """All topics: a channel each, an operation for each service that sends or receives there, a message per event."""
    topics = tuple(topics)
    events = {event_type(event): event for topic in topics for event in topic.events}
    return {
        "asyncapi": _VERSION,
        "info": {
            "title": "Candlekeep's topics",
            "version": "1.0.0",
            "description": "Every message is JSON with CloudEvents headers (Kafka, binary mode). Delivery is at "
            "least once; consumers ignore unknown fields. A channel's address may have KAFKA_TOPIC_PREFIX before it.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in topics},
        "operations": {name: operation for topic in topics for name, operation in _operations(topic)},
        "components": {
            "messages": {name: _message(event) for name, event in sorted(events.items())},
            "schemas": dict(sorted(_schemas(events.values()))),
        },
    }


def _channel(topic: Topic) -> dict[str, Any]:
    configuration: dict[str, Any] = {"cleanup.policy": [topic.cleanup.value]}
    if topic.retention is not None:
        configuration["retention.ms"] = round(topic.retention.total_seconds() * 1000)
    tombstones = " A null value (tombstone) says that the key is gone." if topic.tombstones else ""
    return {
        "address": topic.name,
        "description": f"{topic.why} Key: {topic.key}.{tombstones}",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in map(event_type, topic.events)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": configuration,
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operations(topic: Topic) -> Iterator[tuple[str, dict[str, Any]]]:
    for action, services in (("send", topic.producers), ("receive", topic.consumers)):
        for service in services:
            yield (
                f"{service}.{action}.{topic.name}",
                {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{topic.name}"},
                    "messages": [{"$ref": f"#/channels/{topic.name}/messages/{event_type(e)}"} for e in topic.events],
                    "tags": [{"name": service}],
                },
            )


def _message(event: type[Event]) -> dict[str, Any]:
    name = event_type(event)
    summary, _, rest = (event.__doc__ or "").strip().partition("\n")
    return {
        "name": name,
        "title": name,
        "summary": summary,
        **({"description": " ".join(rest.split())} if rest.strip() else {}),
        "headers": {
            "type": "object",
            "properties": {
                "ce_specversion": {"const": "1.0"},
                "ce_id": {"type": "string", "format": "uuid"},
                "ce_type": {"const": name},
                "ce_source": {"type": "string"},
                "ce_time": {"type": "string", "format": "date-time"},
                "content-type": {"const": "application/json"},
            },
        },
        "payload": {"$ref": _REFERENCE.format(model=event.__name__)},
    }


def _schemas(events: Iterable[type[Event]]) -> Iterator[tuple[str, Any]]:
    """Each event's schema and those that it refers to, side by side."""
    for event in events:
        schema = event.model_json_schema(mode="serialization", ref_template=_REFERENCE)
        yield from schema.pop("$defs", {}).items()
        yield event.__name__, schema
