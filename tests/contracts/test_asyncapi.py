import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema
from jsonschema import Draft202012Validator

from contracts.asyncapi import asyncapi_document
from contracts.topics import ALL_TOPICS

EXAMPLES = Path(__file__).parents[2] / "libs/contracts/examples"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return asyncapi_document(ALL_TOPICS)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_another_implementation_of_asyncapi_3_accepts_the_document(document: dict[str, Any]) -> None:
    read = ApplicationSchema.model_validate(document)
    assert set(read.channels) == {topic.name for topic in ALL_TOPICS}


def test_every_reference_is_resolvable(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert len(found) > 20
    for reference in found:
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]


def test_every_producer_has_a_send_and_every_consumer_a_receive_operation(document: dict[str, Any]) -> None:
    for topic in ALL_TOPICS:
        of_topic = {name for name in document["operations"] if name.endswith(f".{topic.name}")}
        assert of_topic == {f"{each}.send.{topic.name}" for each in topic.producers} | {
            f"{each}.receive.{topic.name}" for each in topic.consumers
        }


@pytest.mark.parametrize(
    "example", sorted(EXAMPLES.glob("*/*/*.json")), ids=lambda path: f"{path.parts[-3]}-{path.stem}"
)
def test_its_schemas_accept_every_released_example(document: dict[str, Any], example: Path) -> None:
    payload = document["components"]["messages"][example.parts[-3]]["payload"]
    Draft202012Validator({**payload, "components": document["components"]}).validate(json.loads(example.read_text()))
