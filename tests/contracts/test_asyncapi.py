import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema
from jsonschema import Draft202012Validator

from contracts.topics import ALL_TOPICS, Topic
from local_stack.asyncapi_document import PATH, text

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "libs/contracts/examples"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    generated: dict[str, Any] = json.loads(text())
    return generated


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_the_committed_document_is_up_to_date() -> None:
    assert (ROOT / PATH).read_text(encoding="utf-8") == text(), "stale: run `make generate`"


def test_it_is_a_valid_asyncapi_3_document(document: dict[str, Any]) -> None:
    assert set(ApplicationSchema.model_validate(document).channels) == set(document["channels"])


def test_each_reference_has_its_target(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert len(found) > 20
    for reference in found:
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in place, reference
            place = place[part]


@pytest.mark.parametrize("topic", ALL_TOPICS, ids=lambda topic: topic.name)
def test_each_producer_sends_and_each_consumer_receives(document: dict[str, Any], topic: Topic) -> None:
    of_topic = {name for name, channel in document["channels"].items() if channel["address"] == topic.name}
    assert of_topic == {f"{each}:send:{topic.name}" for each in topic.producers} | {
        f"{each}:receive:{topic.name}" for each in topic.consumers
    }
    actions = {each["channel"]["$ref"]: each["action"] for each in document["operations"].values()}
    for name in of_topic:
        assert actions[f"#/channels/{name}"] == name.split(":")[1]


@pytest.mark.parametrize("topic", ALL_TOPICS, ids=lambda topic: topic.name)
def test_each_channel_has_its_events_key_and_purpose(document: dict[str, Any], topic: Topic) -> None:
    for name, channel in document["channels"].items():
        if channel["address"] == topic.name:
            messages = list(references(channel["messages"]))
            payloads = [document["components"]["messages"][each.split("/")[-1]]["payload"]["$ref"] for each in messages]
            assert reachable_schemas(document, payloads) >= {event.__name__ for event in topic.events}, name
            assert f"{topic.why} Key: {topic.key}. Partitions: {topic.partitions}." in channel["description"]
            assert channel["bindings"]["kafka"]["topic"] == topic.name


def reachable_schemas(document: dict[str, Any], schema_references: list[str]) -> set[str]:
    names = {reference.split("/")[-1] for reference in schema_references}
    return names | {
        found.split("/")[-1] for name in names for found in references(document["components"]["schemas"][name])
    }


@pytest.mark.parametrize("event", sorted({event for topic in ALL_TOPICS for event in topic.events}, key=str), ids=str)
def test_the_schema_of_each_event_has_its_descriptions(document: dict[str, Any], event: Any) -> None:
    schema = document["components"]["schemas"][event.__name__]
    assert schema["description"].split() == event.__doc__.split()
    described = {name: field["description"] for name, field in schema["properties"].items() if "description" in field}
    for name, field in event.model_fields.items():
        assert field.description is None or described.get(name) == field.description


@pytest.mark.parametrize(
    ("service", "events"),
    [
        ("log-writer", {"RunStarted", "RunFinished", "JobScheduled", "MarketsListed"}),
        ("candle-writer", {"CandlesCollected"}),
        ("backfiller", {"RunStarted", "RunFinished", "ExchangeHealthChanged"}),
    ],
)
def test_the_writers_part_comes_from_their_typed_handlers(
    document: dict[str, Any], service: str, events: set[str]
) -> None:
    """Only a FastStream batch subscriber gives an array of messages."""
    payloads = {
        name: schema for name, schema in document["components"]["schemas"].items() if name.startswith(f"{service}:rec")
    }
    assert [schema["type"] for schema in payloads.values()] == ["array"]
    assert {reference.split("/")[-1] for reference in references(payloads)} == events


@pytest.mark.parametrize(
    "example", sorted(EXAMPLES.glob("*/*/*.json")), ids=lambda path: f"{path.parts[-3]}-{path.stem}"
)
def test_its_schemas_accept_every_released_example(document: dict[str, Any], example: Path) -> None:
    schema = document["components"]["schemas"][example.parts[-3]]
    Draft202012Validator({**schema, "components": document["components"]}).validate(json.loads(example.read_text()))
