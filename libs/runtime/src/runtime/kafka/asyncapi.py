"""AsyncAPI documents of the messages that services send and receive, made by FastStream's generator.

FastStream reads the subscribers and publishers of brokers. log-writer and candle-writer subscribe with FastStream, so
their part of a document comes from their handlers. The other hops use aiokafka and `EventPublisher`. They are declared
here from `contracts.topics`, on a broker that is never started.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Union

from faststream.asgi import AsgiResponse, get
from faststream.kafka import KafkaBroker
from faststream.specification import AsyncAPI

from contracts.topics import ALL_TOPICS, Topic
from runtime.kafka.clients import bootstrap_list, topic_name
from runtime.kafka.codec import Tombstone, event_union
from runtime.settings import KafkaSettings

PATH = "/docs/asyncapi.json"
"""The path of the document. Only the JSON is served, because FastStream's HTML page loads its scripts from a CDN."""

_DESCRIPTION = (
    "Every message is JSON with CloudEvents headers (Kafka, binary mode): `content-type`, `ce_specversion`, `ce_id`, "
    "`ce_type`, `ce_source` and `ce_time`. The delivery is at least once; consumers ignore unknown fields. A channel "
    "is named `<service>:<send or receive>:<topic>`. If a service receives batches, the payload is an array. Each "
    "element is one message of Kafka, and a batch may hold the messages of several topics."
)


def specification(*brokers: KafkaBroker) -> AsyncAPI:
    """The factory of a document for these brokers. The brokers need not be started."""
    return AsyncAPI(*brokers, title="Candlekeep's topics", version="1.0.0", description=_DESCRIPTION)


def document(factory: AsyncAPI) -> dict[str, Any]:
    """The document as JSON. Its order is the same in each process."""
    generated: dict[str, Any] = factory.to_specification().to_jsonable()
    for parts in (generated, generated["components"]):
        for name in ("channels", "operations", "messages", "schemas"):
            if name in parts:
                parts[name] = dict(sorted(parts[name].items()))
    return generated


def describing_broker(service: str, settings: KafkaSettings, subscribed: Iterable[str] = ()) -> KafkaBroker:
    """A broker that is never started.

    It describes the messages that the service sends and receives, except for the `subscribed` topics.
    """
    broker = KafkaBroker(bootstrap_list(settings), logger=None, apply_types=False)
    skipped = set(subscribed)
    for topic in ALL_TOPICS:
        name = topic_name(settings, topic)
        about: dict[str, Any] = {"description": topics_description([topic])}
        if service in topic.producers:
            broker.publisher(name, title=f"{service}:send:{name}", schema=_message_type(topic), **about)
        if service in topic.consumers and name not in skipped:
            broker.subscriber(name, title=subscription_title(service, [name]), **about)(_handler_of(topic))
    return broker


def service_document(service: str, settings: KafkaSettings, broker: KafkaBroker) -> dict[str, Any]:
    """The document of one service. Subscriptions come from its broker; other channels come from its contracts."""
    return document(specification(*brokers_of(service, settings, broker)))


def brokers_of(service: str, settings: KafkaSettings, broker: KafkaBroker) -> tuple[KafkaBroker, KafkaBroker]:
    """The service's own broker, and a broker that describes the topics that the service uses without it."""
    subscribed = {topic for each in broker.subscribers for topic in each.specification.channel_labels}
    return broker, describing_broker(service, settings, subscribed)


def dump(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


def asyncapi_route(service: str, settings: KafkaSettings, broker: KafkaBroker) -> tuple[str, Any]:
    """An ASGI route with the document of one service. It is generated at the first request."""
    generated: list[bytes] = []

    @get(include_in_schema=False)
    async def asyncapi(_scope: Any) -> AsgiResponse:
        if not generated:
            generated.append(dump(service_document(service, settings, broker)).encode())
        return AsgiResponse(generated[0], 200, {"content-type": "application/json"})

    return PATH, asyncapi


def subscription_title(service: str, topics: Sequence[str]) -> str:
    """The name of a subscription in the document. FastStream adds the topic if there are several."""
    return f"{service}:receive:{topics[0]}" if len(topics) == 1 else f"{service}:receive"


def topics_description(topics: Iterable[Topic]) -> str:
    """The purpose, key and partition count of each topic. FastStream's bindings have no field for these facts."""
    return "\n\n".join(_description(topic) for topic in topics)


def _description(topic: Topic) -> str:
    days = f" after {topic.retention.days} days" if topic.retention else ""
    tombstones = " A null value (tombstone) means that the key is gone." if topic.tombstones else ""
    return (
        f"`{topic.name}`: {topic.why} Key: {topic.key}. Partitions: {topic.partitions}. "
        f"Cleanup: {topic.cleanup.value}{days}.{tombstones}"
    )


def _message_type(topic: Topic) -> Any:
    events = event_union(topic.events)
    return Union[events, Tombstone] if topic.tombstones else events  # noqa: UP007 -- made at run time


def _handler_of(topic: Topic) -> Any:
    async def receive(event: Any) -> None:
        raise NotImplementedError("the broker of a document is never started")

    receive.__annotations__["event"] = _message_type(topic)
    return receive
